//! The floors of the course: a crate stands on crates above it in the table, and on no other of the course.
//!
//! Reads `cargo metadata`, so it sees what cargo sees: also build and dev dependencies, also the learner's
//! crates, also an adopted one. `workshop` stands on none of them, for it checks them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use workshop::course::Course;
use workshop::workspace;

/// A crate of the workspace as the rule sees it.
#[derive(Debug)]
struct Crate {
    name: String,
    /// The number of its chapter; `None` for the tools, `workshop` and `book`.
    floor: Option<u8>,
    /// The names of the packages that it depends on, for whatever purpose.
    needs: Vec<String>,
}

/// Every edge that goes to the same floor, up, or from the workshop into the course.
fn wrong_edges(crates: &[Crate]) -> Vec<String> {
    let floors: BTreeMap<&str, u8> =
        crates.iter().filter_map(|c| Some((c.name.as_str(), c.floor?))).collect();
    let mut wrong = Vec::new();
    for one in crates {
        for need in &one.needs {
            let Some(below) = floors.get(need.as_str()) else { continue };
            let why = match one.floor {
                Some(floor) if *below >= floor => format!("floor {floor} stands on floor {below}"),
                None if one.name == "workshop" => {
                    "the workshop must stand when the course does not".to_owned()
                }
                _ => continue,
            };
            wrong.push(format!("{} -> {need}: {why}", one.name));
        }
    }
    wrong
}

/// The workspace's crates. A crate of the course stands in `solutions/NN-name` or `chapters/NN-name`, and is
/// in the table under that number.
fn crates(root: &Path, course: &Course, metadata: &Value) -> Vec<Crate> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let one = |package: &Value| {
        let name = text(&package["name"]);
        let manifest = text(&package["manifest_path"]);
        let below = Path::new(&manifest).strip_prefix(root).expect("a member stands in the workspace");
        let needs = package["dependencies"].as_array().expect("dependencies").iter();
        let needs = needs.map(|dependency| text(&dependency["name"])).collect();
        Crate { floor: floor(course, &name, below), name, needs }
    };
    packages.iter().map(one).collect()
}

fn floor(course: &Course, name: &str, manifest: &Path) -> Option<u8> {
    let parts: Vec<_> = manifest.iter().map(|part| part.to_string_lossy()).collect();
    let [home @ ("solutions" | "chapters"), dir, ..] =
        &*parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>()
    else {
        return None;
    };
    let chapter = course.chapters.iter().find(|chapter| chapter.dir == *dir);
    let chapter = chapter.unwrap_or_else(|| panic!("{home}/{dir} is in no chapter of book/course.toml"));
    let expected = if *home == "chapters" { chapter.my_crate() } else { chapter.krate.clone() };
    assert_eq!(name, expected, "the crate in {home}/{dir}");
    Some(chapter.number)
}

#[test]
fn no_crate_stands_on_one_of_its_own_floor_or_above() {
    let root = workspace::root_above(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the workspace");
    let course = Course::load(&root).unwrap();
    let mut cargo = workspace::cargo(&root);
    let output = cargo.args(["metadata", "--format-version=1", "--no-deps", "--offline"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates = crates(&root, &course, &serde_json::from_slice(&output.stdout).unwrap());
    assert!(crates.iter().filter(|one| one.floor.is_some()).count() >= 2, "{crates:?}");
    assert_eq!(wrong_edges(&crates), [""; 0]);
}

#[test]
fn a_wrong_edge_is_found_and_a_right_one_is_not() {
    let one = |name: &str, floor, needs: &[&str]| Crate {
        name: name.to_owned(),
        floor,
        needs: needs.iter().map(ToString::to_string).collect(),
    };
    let crates = [
        one("process", Some(1), &["nix", "mount"]),
        one("my-process", Some(1), &["nix"]),
        one("mount", Some(2), &["process", "my-process"]),
        one("my-mount", Some(2), &["my-process", "mount"]),
        one("workshop", None, &["nix", "process"]),
        one("book", None, &["workshop"]),
    ];
    let expected = [
        "process -> mount: floor 1 stands on floor 2",
        "my-mount -> mount: floor 2 stands on floor 2",
        "workshop -> process: the workshop must stand when the course does not",
    ];
    assert_eq!(wrong_edges(&crates), expected);
}
