//! What counts as left behind, on made-up places and on processes of our own.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::*;
use crate::workspace::Scratch;

/// Made-up places in a scratch folder, without a single leftover.
fn places(scratch: &Scratch) -> Places {
    let at = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    fs::create_dir_all(scratch.path().join("proc/self")).unwrap();
    fs::write(scratch.path().join("proc/self/mountinfo"), "").unwrap();
    Places {
        proc: at("proc"),
        cgroup: at("cgroup"),
        net: at("net"),
        temp: at("temp"),
        cache: Some("/w/target/gantry".into()),
    }
}

fn process(places: &Places, pid: i32, parent: i32, lab: &str) {
    let folder = places.proc.join(pid.to_string());
    fs::create_dir_all(&folder).unwrap();
    let stat = format!("{pid} (a) b) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0");
    fs::write(folder.join("stat"), stat).unwrap();
    fs::write(folder.join("environ"), format!("HOME=/\0{lab}\0")).unwrap();
    fs::write(folder.join("cmdline"), "sleep\x001000\0").unwrap();
}

#[test]
fn a_process_is_left_when_its_keeper_is_no_ancestor() {
    let scratch = Scratch::new("clean").unwrap();
    let places = places(&scratch);
    process(&places, 1, 0, "");
    process(&places, 50, 1, "");
    process(&places, 51, 50, "GANTRY_LAB=50:a");
    process(&places, 52, 51, "GANTRY_LAB=50:a");
    process(&places, 60, 1, "GANTRY_LAB=50:a");
    process(&places, 61, 60, "GANTRY_LAB=4711");
    process(&places, 62, 1, "GANTRY_LAB=demo");
    let found = find_in(&places).unwrap();
    let pids: Vec<i32> = found
        .iter()
        .map(|one| match one {
            Leftover::Process { pid, started: 777, command } if command == "sleep 1000" => *pid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pids, [60, 61]);
}

#[test]
fn mounts_are_ours_by_place_or_name_and_come_last_first() {
    let scratch = Scratch::new("clean").unwrap();
    let places = places(&scratch);
    let table = "\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 0:1 / /w/target/gantry/a\\040b rw shared:1 - tmpfs tmpfs rw
31 30 0:1 / /w/target/gantry/a\\040b/in rw - tmpfs tmpfs rw
32 21 0:1 / /w/target/gantryman rw - tmpfs tmpfs rw
33 21 0:1 / /mnt rw - tmpfs gantry-lab rw
34 21 0:1 / /tmp/gantry-lab-7/root rw - tmpfs none rw
";
    fs::write(places.proc.join("self/mountinfo"), table).unwrap();
    let expected = ["/tmp/gantry-lab-7/root", "/mnt", "/w/target/gantry/a b/in", "/w/target/gantry/a b"];
    assert_eq!(find_in(&places).unwrap(), expected.map(|path| Leftover::Mount(path.into())));
}

#[test]
fn a_cgroup_is_left_when_only_dying_processes_are_inside() {
    let scratch = Scratch::new("clean").unwrap();
    let places = places(&scratch);
    process(&places, 60, 1, "GANTRY_LAB=4711");
    for (path, inside) in [
        ("user.slice/gantry-dead", ""),
        ("user.slice/gantry-dead/inner", "60\n"),
        ("gantry-alive", ""),
        ("gantry-alive/inner", "61\n"),
        ("other", "60\n"),
    ] {
        fs::create_dir_all(places.cgroup.join(path)).unwrap();
        fs::write(places.cgroup.join(path).join("cgroup.procs"), inside).unwrap();
    }
    let found = find_in(&places).unwrap();
    let dead = places.cgroup.join("user.slice/gantry-dead");
    assert_eq!(found[1..], [Leftover::Cgroup(dead.join("inner")), Leftover::Cgroup(dead)]);
}

#[test]
fn a_cgroup_whose_keeper_lives_is_let_be_and_so_is_its_note() {
    use nix::fcntl::{Flock, FlockArg};
    let scratch = Scratch::new("clean").unwrap();
    let places = places(&scratch);
    for name in ["gantry-lab-7", "gantry-on.io", "memory/gantry-lab-7"] {
        fs::create_dir_all(places.cgroup.join(name)).unwrap();
        fs::write(places.cgroup.join(name).join("cgroup.procs"), "").unwrap();
    }
    let at = |name: &str| Leftover::Cgroup(places.cgroup.join(name));
    let keeper = fs::File::open(places.cgroup.join("gantry-lab-7")).unwrap();
    let keeper = Flock::lock(keeper, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    assert_eq!(find_in(&places).unwrap(), [at("memory/gantry-lab-7")]);
    drop(keeper);
    let all = [at("gantry-lab-7"), at("gantry-on.io"), at("memory/gantry-lab-7")];
    assert_eq!(find_in(&places).unwrap(), all);
}

#[test]
fn folders_and_links_are_ours_by_name_and_left_when_their_maker_is_gone() {
    let scratch = Scratch::new("clean").unwrap();
    let places = places(&scratch);
    process(&places, 60, 1, "");
    for name in ["gantry-check-60-0", "gantry-check-61-0", "gantry-fresh", "gantry", "other-61"] {
        fs::create_dir(places.temp.join(name)).unwrap();
    }
    for name in ["gantry0", "eth0"] {
        fs::create_dir(places.net.join(name)).unwrap();
    }
    let folder = Leftover::Folder(places.temp.join("gantry-check-61-0"));
    assert_eq!(find_in(&places).unwrap(), [folder.clone(), Leftover::Link("gantry0".into())]);
    remove(&folder).unwrap();
    assert_eq!(find_in(&places).unwrap(), [Leftover::Link("gantry0".into())]);
    let refusal = remove(&Leftover::Link("gantry0".into())).unwrap_err().to_string();
    assert!(refusal.contains("ip link delete gantry0"), "{refusal}");
}

#[test]
fn a_real_process_of_a_dead_lab_is_found_and_ended() {
    // A shell that starts a process and ends: what it started loses its keeper.
    let script = "GANTRY_LAB=$$ sleep 60 >/dev/null 2>&1 & echo $!";
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let pid: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let is_it = |one: &Leftover| matches!(one, Leftover::Process { pid: found, .. } if *found == pid);
    let deadline = Instant::now() + Duration::from_secs(5);
    let leftover = loop {
        // The new process shows its environment only after its exec.
        if let Some(found) = find().unwrap().into_iter().find(is_it) {
            break found;
        }
        assert!(Instant::now() < deadline, "the orphan is not found");
        sleep(Duration::from_millis(10));
    };
    remove(&leftover).unwrap();
    assert!(!find().unwrap().iter().any(is_it));
}

#[test]
fn a_process_of_a_living_lab_is_let_be() {
    let me = std::process::id();
    let mut child = Command::new("sleep").arg("60").env("GANTRY_LAB", format!("{me}:x")).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let found = find().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!found.iter().any(|one| matches!(one, Leftover::Process { pid: found, .. } if *found == pid)));
}

#[test]
fn a_number_given_out_again_is_let_be() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    remove(&Leftover::Process { pid, started: 1, command: String::new() }).unwrap();
    let lives = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lives);
}
