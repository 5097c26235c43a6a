//! The manifests in `k8s/`, as a test: what they say twice, or what another file says too, agrees.
//!
//! It reads the files as they are and needs no kubectl. That they build, and are what Kubernetes'
//! schema wants, is for `make lint-k8s` to say.
#![allow(
    clippy::unwrap_used,
    reason = "all of this crate is tests, and the lint knows only functions marked so"
)]

mod files;
mod program;

use std::collections::BTreeSet;

use files::{
    BASE, DEMO, Labels, OVERLAYS, PRODUCTION, array, documents, each, kustomization, patches, pods,
    read, resources, text,
};
use serde_json::Value;

#[test]
fn every_file_is_part_of_its_kustomization() {
    for directory in [BASE, DEMO, PRODUCTION] {
        let kustomization = kustomization(directory);
        let resources = array(&kustomization["resources"]).iter().map(text);
        let patches = array(&kustomization["patches"]).iter();
        let generators = array(&kustomization["configMapGenerator"]).iter();
        let named = resources
            .filter(|path| !path.starts_with("../"))
            .chain(patches.map(|patch| text(&patch["path"])))
            .chain(generators.flat_map(|map| array(&map["envs"]).iter().map(text)))
            .chain(["kustomization.yaml"]);
        assert_eq!(
            named.map(str::to_owned).collect::<BTreeSet<_>>(),
            files::names(directory),
            "{directory}"
        );
    }
}

/// Else it would add something that nothing needs, and change nothing.
#[test]
fn a_patch_changes_what_is_there() {
    let mut there = BTreeSet::new();
    for pod in &pods(BASE) {
        there.extend(files::parts(&pod["spec"]));
    }
    for patch in OVERLAYS.into_iter().flat_map(patches) {
        let changed = files::parts(&patch["spec"]["template"]["spec"]);
        assert!(!changed.is_empty(), "{patch}");
        assert!(changed.is_subset(&there), "{changed:?} of {there:?}");
    }
}

#[test]
fn pods_run_as_the_images_user_and_may_do_nothing_else() {
    let dockerfile = read("docker/Dockerfile");
    let user = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("USER "));
    let user: u64 = user.unwrap().parse().unwrap();
    for pod in pods(BASE) {
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], user);
    }
    for pod in pods(BASE).iter().chain(&pods(DEMO)) {
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false, "{spec}");
        assert_eq!(spec["enableServiceLinks"], false, "{spec}");
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{spec}");
        let profile = &spec["securityContext"]["seccompProfile"]["type"];
        assert_eq!(profile, "RuntimeDefault", "{spec}");
        for container in files::containers(pod) {
            let locked = &container["securityContext"];
            assert_eq!(locked["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(locked["capabilities"]["drop"][0], "ALL", "{container}");
            // Kafka's image writes into itself.
            let is_read_only = locked["readOnlyRootFilesystem"] == true;
            assert!(is_read_only || container["name"] == "kafka", "{container}");
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{container}"
            );
        }
    }
}

#[test]
fn what_is_referenced_is_there() {
    let base = resources(BASE);
    let has = |kind: &str, name: &Value| {
        let mut there = base.iter();
        there.any(|it| it["kind"] == kind && it["metadata"]["name"] == *name)
    };
    let generated = &kustomization(BASE)["configMapGenerator"][0]["name"];
    for pod in pods(BASE) {
        assert!(has("ServiceAccount", &pod["spec"]["serviceAccountName"]));
        each(&pod, "configMapRef", &mut |map| {
            assert_eq!(map["name"], *generated);
        });
    }
    for it in resources(PRODUCTION) {
        each(&it, "scaleTargetRef", &mut |target| {
            assert!(has(text(&target["kind"]), &target["name"]), "{target}");
            // Else each `kubectl apply` would undo what the autoscaler did.
            let replicas = &kustomization(PRODUCTION)["replicas"];
            let fixed = array(replicas)
                .iter()
                .any(|set| set["name"] == target["name"]);
            assert!(!fixed, "{target} has a number of replicas");
        });
        each(&it, "service", &mut |service| {
            assert!(has("Service", &service["name"]), "{service}");
        });
    }
    for deployment in base.iter().filter(|it| it["kind"] == "Deployment") {
        assert_eq!(deployment["spec"].get("replicas"), None, "{deployment}");
    }
}

/// The keys that a command in `text` gives the Secret.
fn literals(text: &str) -> BTreeSet<String> {
    let rest = text.split("--from-literal=").skip(1);
    rest.map(|rest| rest.split('=').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_commands_that_make_the_secret_name_every_key() {
    let production = read(&format!("{PRODUCTION}/kustomization.yaml"));
    for (told, adds) in [
        (read("README.md"), resources(DEMO)),
        (production, patches(PRODUCTION)),
    ] {
        let mut wanted = BTreeSet::new();
        for it in resources(BASE).iter().chain(&adds) {
            files::secret_keys(it, &mut wanted);
        }
        assert_eq!(literals(&told), wanted);
    }
}

#[test]
fn every_selector_finds_pods_that_have_the_ports() {
    for overlay in OVERLAYS {
        let all = [resources(BASE), resources(overlay)].concat();
        let pods = [pods(BASE), pods(overlay)].concat();
        let select = |labels: &Labels| {
            let selected = pods.iter().filter(|pod| {
                let mut wanted = labels.iter();
                wanted.all(|(name, value)| pod["metadata"]["labels"].get(name) == Some(value))
            });
            selected.collect::<Vec<_>>()
        };
        for it in &all {
            let mut selected = vec![];
            each(it, "matchLabels", &mut |labels| {
                let labels = labels.as_object().unwrap();
                // Of namespaces nothing is known here.
                if !labels.contains_key("kubernetes.io/metadata.name") {
                    selected.push(select(labels));
                }
            });
            if it["kind"] == "Service" {
                selected.push(select(it["spec"]["selector"].as_object().unwrap()));
            }
            assert!(selected.iter().all(|pods| !pods.is_empty()), "{it}");
            for (name, number) in files::named_ports(it) {
                for pod in selected.first().unwrap() {
                    let found = files::port(pod, name);
                    assert!(found.is_some(), "no {name} for {it}");
                    assert!(number.is_none() || number == found, "{name} of {it}");
                }
            }
        }
    }
}

#[test]
fn the_fleet_may_go_where_its_services_are() {
    let mut ports = BTreeSet::from([53]);
    for it in resources(DEMO).iter().filter(|it| it["kind"] == "Service") {
        let of_service = array(&it["spec"]["ports"]).iter();
        ports.extend(of_service.map(|port| port["port"].as_u64().unwrap()));
    }
    let mut allowed = BTreeSet::new();
    each(&Value::Array(resources(BASE)), "egress", &mut |rules| {
        for rule in array(rules) {
            let of_rule = array(&rule["ports"]).iter();
            allowed.extend(of_rule.map(|port| port["port"].as_u64().unwrap()));
        }
    });
    // Kafka's other port is its own.
    ports.remove(&9093);
    assert_eq!(allowed, ports);
}

#[test]
fn the_demo_is_the_compose_file() {
    let compose = documents("docker/docker-compose.yml").remove(0);
    let stores = resources(DEMO);
    let stores = stores.iter().filter(|it| it["kind"] == "StatefulSet");
    let mut names = BTreeSet::new();
    for store in stores {
        let name = text(&store["metadata"]["name"]);
        let service = &compose["services"][name];
        let container = &store["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], service["image"], "{name}");
        assert_eq!(
            container.get("args"),
            service.get("command"),
            "{name}'s arguments"
        );
        let environment = service["environment"].as_object();
        for (variable, value) in environment.into_iter().flatten() {
            if variable != "POSTGRES_PASSWORD" {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                let here = program::given(container, variable);
                assert_eq!(here, Some(value), "{name}: {variable}");
            }
        }
        names.insert(name.to_owned());
    }
    assert!(names.into_iter().eq(["kafka-1", "postgres", "redis"]));
    for pod in pods(BASE) {
        for container in files::containers(&pod) {
            assert_eq!(container["image"], compose["x-millpond"]["image"]);
        }
    }
    let readme = read("README.md");
    let brokers = text(&compose["x-fleet"]["KAFKA_BROKERS"]);
    let redis = text(&compose["x-server"]["environment"]["REDIS_URL"]);
    for (key, value) in [("kafka-brokers", brokers), ("redis-url", redis)] {
        let literal = format!("--from-literal={key}={value}");
        assert!(readme.contains(&literal), "the README has no {literal}");
    }
}

#[test]
fn production_takes_the_image_of_this_version() {
    let image = &kustomization(PRODUCTION)["images"][0];
    assert_eq!(image["name"], "millpond");
    assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"));
}
