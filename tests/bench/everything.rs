//! What a start costs with everything that chapters 1 to 8 have, against the runtimes of the field.
//!
//! `security run` has namespaces, limits, the list of devices, Docker's capabilities and its filter, covered files and
//! switches of its own; `crun run` and `runc run` get a bundle that says the same. The profile is Docker's, resolved for
//! this container as Docker does it, for an OCI document knows no conditions; ours is taken from its cache. Once more
//! ours starts on a union of three layers, which has no peer: the others leave that to whoever calls them.
//!
//! `cargo bench -p security --bench everything` prints medians and ratios, and fails where a promise is not kept. It
//! needs root.

mod runners;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use runners::Runners;
use security::calls::Arch;
use security::capability::{self, Set};
use security::paths::{MASKED, READ_ONLY};
use security::profile::{self, Conditions, DEFAULT, Entry};
use security::resolve::{Facts, resolve};
use serde_json::{Value, json};

/// Layers of the union.
const LAYERS: usize = 3;

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let runners = Runners::new();
    let layers = layers(&runners);
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    let ours = |root: &[&str], words: &[&str]| runners.ours(env!("CARGO_BIN_EXE_security"), root, words);
    let plain = || ours(&runners.rootfs(), &["/bin/true"]);
    let stacked = || ours(&layers, &["/bin/true"]);
    let (medians, mut kept) = runners.starts(&[&plain, &stacked], &bundle(&runners));
    let (plain, stacked) = (medians[0], medians[1]);
    println!("on {LAYERS} layers: {stacked:.2} ms, by that on a folder: {:.2}", stacked / plain);
    kept &= runners.memory(ours(&runners.rootfs(), &["/bin/sleep", "1000"]));
    ExitCode::from(u8::from(!kept))
}

/// The words for a root of layers: `demo`, and above it folders with a file each.
fn layers(runners: &Runners) -> Vec<String> {
    let mut words = vec!["--layer".to_owned(), runners.demo.display().to_string()];
    for number in 1..LAYERS {
        let layer = runners.folder.join(format!("layer{number}"));
        fs::create_dir_all(layer.join("etc")).expect("a folder");
        fs::write(layer.join(format!("etc/cargo{number}")), "tea\n").expect("a file");
        words.extend(["--layer".to_owned(), layer.display().to_string()]);
    }
    words
}

/// The bundle of chapter 6, and what this chapter adds.
fn bundle(runners: &Runners) -> String {
    let mut bundle: Value = serde_json::from_str(&runners.bundle()).expect("JSON");
    let kept: Vec<String> = Set::of_docker().numbers().map(capability::name).collect();
    bundle["process"]["noNewPrivileges"] = json!(false);
    // As Docker since 20.10.14: nothing is inheritable or ambient.
    bundle["process"]["capabilities"] = json!({
        "bounding": kept, "effective": kept, "permitted": kept, "inheritable": [], "ambient": []
    });
    let linux = &mut bundle["linux"];
    linux["maskedPaths"] = json!(masked());
    linux["readonlyPaths"] = json!(READ_ONLY);
    linux["sysctl"] =
        json!({"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"});
    linux["resources"]["devices"] = devices();
    linux["seccomp"] = seccomp();
    bundle.to_string()
}

/// What is covered: the list, and one folder a processor where there are such.
fn masked() -> Vec<String> {
    let processors = (0..).map(|number| format!("/sys/devices/system/cpu/cpu{number}"));
    let processors = processors.take_while(|folder| Path::new(folder).exists());
    let folders = processors.map(|folder| format!("{folder}/thermal_throttle"));
    MASKED.map(str::to_owned).into_iter().chain(folders).collect()
}

/// Nothing, and then what every container may do.
fn devices() -> Value {
    let number = |word: &str| word.parse::<i64>().map_or(Value::Null, Value::from);
    let allowed = cgroup::devices::default().into_iter().map(|rule| {
        let text = rule.to_string();
        let words: Vec<&str> = text.split([' ', ':']).collect();
        let mut rule = json!({"allow": true, "type": words[0], "access": words[3]});
        for (key, word) in [("major", words[1]), ("minor", words[2])].into_iter().filter(|(_, w)| *w != "*") {
            rule[key] = number(word);
        }
        rule
    });
    std::iter::once(json!({"allow": false, "access": "rwm"})).chain(allowed).collect()
}

/// Docker's profile without conditions: the entries whose conditions hold here, for the programs that ours lets in.
fn seccomp() -> Value {
    let facts = Facts::here(Set::of_docker()).expect("this machine");
    let profile = profile::parse(DEFAULT, "Docker's").expect("a profile");
    let doors = resolve(&profile, &facts).expect("a policy").doors;
    let all: Value = serde_json::from_str(DEFAULT).expect("JSON");
    let entries = all["syscalls"].as_array().expect("a list").iter().zip(&profile.syscalls);
    let kept = entries.filter(|(_, entry)| counts(entry)).map(|(text, _)| {
        let mut text = text.clone();
        let keys = text.as_object_mut().expect("an entry");
        keys.retain(|key, _| ["names", "action", "errnoRet", "args"].contains(&key.as_str()));
        text
    });
    json!({
        "defaultAction": all["defaultAction"],
        "defaultErrnoRet": all["defaultErrnoRet"],
        "architectures": doors.iter().map(|door| door.arch.names().0).collect::<Vec<_>>(),
        "syscalls": kept.collect::<Vec<_>>(),
    })
}

/// Whether the conditions of an entry hold.
fn counts(Entry { includes, excludes, .. }: &Entry) -> bool {
    let has = |name: &String| Set::of_docker() & capability::parse(name).expect("a name") != Set::EMPTY;
    let is_here = |name: &String| name == Arch::native().names().1;
    let Conditions { caps, arches, min_kernel } = includes;
    assert!(min_kernel.is_none_or(|kernel| kernel == (4, 8)), "older than all that we run on");
    let included = caps.iter().all(has) && (arches.is_empty() || arches.iter().any(is_here));
    included && !excludes.caps.iter().any(has) && !excludes.arches.iter().any(is_here)
}
