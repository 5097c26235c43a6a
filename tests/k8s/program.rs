//! What the manifests tell the program: variables that it knows, values that work, ports on which it
//! listens, times that it is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::files::{
    BASE, OVERLAYS, array, containers, kustomization, patches, pods, port, read, text,
};

/// What an overlay's `ConfigMap` holds.
fn settings(overlay: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for directory in [BASE, overlay] {
        let maps = &kustomization(directory)["configMapGenerator"];
        for path in array(&maps[0]["envs"]).iter().map(text) {
            let lines = read(&format!("{directory}/{path}"));
            let pairs = lines.lines().filter_map(|line| line.split_once('='));
            let pairs = pairs.filter(|(name, _)| !name.starts_with('#'));
            settings.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
    settings
}

/// The value that a container gives a variable.
pub fn given(container: &Value, variable: &str) -> Option<String> {
    let mut variables = array(&container["env"]).iter();
    let found = variables.find(|it| it["name"] == variable)?;
    found["value"].as_str().map(str::to_owned)
}

#[test]
fn every_variable_is_one_that_the_program_knows() {
    let example = read("docker/.env.example");
    let known: BTreeSet<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let pods = pods(BASE);
    let variables = pods.iter().flat_map(containers);
    let variables = variables.flat_map(|container| array(&container["env"]));
    let in_pods = variables.map(|it| text(&it["name"]).to_owned());
    let in_maps = OVERLAYS.iter().flat_map(|overlay| settings(overlay));
    let named = in_pods.chain(in_maps.map(|(name, _)| name));
    let unknown: Vec<String> = named.filter(|name| !known.contains(&**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// What would stand under a key of the Secret.
fn secret(key: &str) -> &'static str {
    match key {
        "database-url" | "owner-database-url" => "postgres://millpond:secret@postgres/millpond",
        "redis-url" => "redis://redis",
        "kafka-brokers" => "kafka-1:9092",
        "jwt-secret" => "a secret that has 32 bytes in all",
        _ => panic!("{key} is no key of the Secret"),
    }
}

/// The keys of the Secret in a volume, as the overlay has it.
fn items(overlay: &str, pod: &Value, volume: &Value) -> Vec<Value> {
    let patches = patches(overlay);
    let changed = patches.iter().map(|patch| &patch["spec"]["template"]);
    let mut volumes = changed
        .chain([pod])
        .flat_map(|pod| array(&pod["spec"]["volumes"]));
    let found = volumes.find(|it| it["name"] == *volume).unwrap();
    array(&found["secret"]["items"]).to_vec()
}

/// Puts files below `root` where the container finds its Secret's.
fn mount(root: &Path, overlay: &str, pod: &Value, container: &Value) {
    for mounted in array(&container["volumeMounts"]) {
        let path = text(&mounted["mountPath"]).trim_start_matches('/');
        let directory = root.join(path);
        fs::create_dir_all(&directory).unwrap();
        for item in items(overlay, pod, &mounted["name"]) {
            let file = directory.join(text(&item["path"]));
            fs::write(file, secret(text(&item["key"]))).unwrap();
        }
    }
}

fn value(root: &Path, variable: &Value) -> String {
    let from = &variable["valueFrom"];
    if let Some(key) = from["secretKeyRef"]["key"].as_str() {
        return secret(key).to_owned();
    }
    if from["resourceFieldRef"]["resource"] == "requests.cpu" {
        return "1".to_owned();
    }
    let value = text(&variable["value"]);
    match value.strip_prefix('/') {
        Some(path) => root.join(path).display().to_string(),
        None => value.to_owned(),
    }
}

/// By the program's own word.
#[test]
fn every_container_has_a_configuration_that_works() {
    for overlay in OVERLAYS {
        for pod in pods(BASE) {
            for container in containers(&pod) {
                let root = tempfile::tempdir().unwrap();
                mount(root.path(), overlay, &pod, container);
                let (program, arguments) = array(&container["command"]).split_first().unwrap();
                let mut command = Command::new(match text(program) {
                    "millpond" => env!("CARGO_BIN_EXE_millpond"),
                    "millpond-worker" => env!("CARGO_BIN_EXE_millpond-worker"),
                    other => panic!("{other} is not in the image"),
                });
                command.env_clear().current_dir(root.path());
                if container.get("envFrom").is_some() {
                    command.envs(settings(overlay));
                }
                for variable in array(&container["env"]) {
                    command.env(text(&variable["name"]), value(root.path(), variable));
                }
                let arguments = arguments.iter().map(text);
                let checked = command.args(arguments).arg("--check-config").output();
                let checked = checked.unwrap();
                let said = String::from_utf8_lossy(&checked.stderr);
                assert!(checked.status.success(), "{overlay}, {command:?}: {said}");
            }
        }
    }
}

#[test]
fn ports_and_probes_are_where_the_program_listens() {
    let wanted = [
        ("server", "http", "HTTP_PORT"),
        ("server", "admin", "ADMIN_PORT"),
        ("worker", "admin", "WORKER_METRICS_PORT"),
    ];
    for overlay in OVERLAYS {
        let settings = settings(overlay);
        for (component, name, variable) in wanted {
            let pods = pods(BASE);
            let of_component = |pod: &&Value| {
                pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
            };
            let pod = pods.iter().find(of_component).unwrap();
            let number = port(pod, name).map(|number| number.to_string());
            assert_eq!(number.as_ref(), settings.get(variable), "{variable}");
            let container = &pod["spec"]["containers"][0];
            for (probe, path) in [
                ("startupProbe", "/health"),
                ("readinessProbe", "/ready"),
                ("livenessProbe", "/health"),
            ] {
                let asked = &container[probe]["httpGet"];
                assert_eq!(asked["path"], path, "{probe} of {component}");
                assert_eq!(asked["port"], "admin", "{probe} of {component}");
            }
        }
    }
}

#[test]
fn a_pod_is_left_the_time_that_its_process_takes_to_end() {
    for overlay in OVERLAYS {
        let settings = settings(overlay);
        let seconds = |variable: &str| -> u64 {
            let value = settings[variable].strip_suffix('s').unwrap();
            value.parse().unwrap()
        };
        for pod in pods(BASE) {
            let left = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
            // The grace includes the delay; that much again is for a node that is slow to act.
            let taken = seconds("SHUTDOWN_DELAY") + seconds("SHUTDOWN_GRACE");
            assert!(left.unwrap() > taken, "{overlay}: {left:?}");
        }
    }
}
