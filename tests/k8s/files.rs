//! The files of `k8s/`: which there are, and what stands in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

pub const BASE: &str = "k8s/base";
pub const DEMO: &str = "k8s/overlays/demo";
pub const PRODUCTION: &str = "k8s/overlays/production";
pub const OVERLAYS: [&str; 2] = [DEMO, PRODUCTION];

pub type Labels = Map<String, Value>;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(at(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

pub fn documents(path: &str) -> Vec<Value> {
    let loaded = YamlLoader::load_from_str(&read(path));
    let loaded = loaded.unwrap_or_else(|error| panic!("{path}: {error}"));
    loaded.into_iter().map(json).collect()
}

/// Kubernetes reads both. `<<` is left as it stands.
fn json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Hash(fields) => {
            let fields = fields.into_iter();
            fields
                .map(|(name, value)| (name.into_string().unwrap(), json(value)))
                .collect()
        }
        Yaml::Array(values) => values.into_iter().map(json).collect(),
        Yaml::Boolean(value) => value.into(),
        Yaml::Integer(value) => value.into(),
        Yaml::Null => Value::Null,
        other => other.into_string().unwrap().into(),
    }
}

pub fn kustomization(directory: &str) -> Value {
    documents(&format!("{directory}/kustomization.yaml")).remove(0)
}

/// What the directory adds itself.
pub fn resources(directory: &str) -> Vec<Value> {
    let kustomization = kustomization(directory);
    let paths = array(&kustomization["resources"]).iter().map(text);
    let own = paths.filter(|path| !path.starts_with("../"));
    own.flat_map(|path| documents(&format!("{directory}/{path}")))
        .collect()
}

pub fn patches(directory: &str) -> Vec<Value> {
    let kustomization = kustomization(directory);
    let paths = array(&kustomization["patches"]).iter();
    paths
        .flat_map(|patch| documents(&format!("{directory}/{}", text(&patch["path"]))))
        .collect()
}

/// The templates of the pods.
pub fn pods(directory: &str) -> Vec<Value> {
    let resources = resources(directory).into_iter();
    let pods = resources.filter_map(|mut it| it.pointer_mut("/spec/template").map(Value::take));
    pods.collect()
}

pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].into_iter();
    lists.flat_map(|list| array(&pod["spec"][list]))
}

pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Visits what stands under `name`, at whatever depth.
pub fn each<'a>(value: &'a Value, name: &str, visit: &mut impl FnMut(&'a Value)) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    visit(value);
                }
                each(value, name, visit);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| each(value, name, visit)),
        _ => {}
    }
}

/// The containers and volumes of a pod, by name.
pub fn parts(spec: &Value) -> BTreeSet<String> {
    let lists = ["initContainers", "containers", "volumes"].into_iter();
    let parts = lists.flat_map(|list| array(&spec[list]).iter().map(move |part| (list, part)));
    parts
        .map(|(list, part)| format!("{list}/{}", text(&part["name"])))
        .collect()
}

pub fn secret_keys(value: &Value, found: &mut BTreeSet<String>) {
    each(value, "secretKeyRef", &mut |key| {
        found.insert(text(&key["key"]).to_owned());
    });
    each(value, "secret", &mut |secret| {
        let items = array(&secret["items"]).iter();
        found.extend(items.map(|item| text(&item["key"]).to_owned()));
    });
}

/// The ports that a Service or a policy means by the name that pods give them; a Service's with the
/// number under which clients know it.
pub fn named_ports(it: &Value) -> Vec<(&str, Option<u64>)> {
    let of_service = array(&it["spec"]["ports"]).iter();
    let mut named: Vec<_> = of_service
        .map(|port| (text(&port["targetPort"]), port["port"].as_u64()))
        .collect();
    each(&it["spec"]["ingress"], "port", &mut |port| {
        named.push((text(port), None));
    });
    named
}

/// The number of a pod's port.
pub fn port(pod: &Value, name: &str) -> Option<u64> {
    let mut ports = containers(pod).flat_map(|container| array(&container["ports"]));
    ports.find(|port| port["name"] == name)?["containerPort"].as_u64()
}
