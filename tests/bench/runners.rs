//! Runners side by side: ours beside those of the field, with equal containers, from start to end.
//!
//! Each start is a program started by turns with the others from this process, after 50 ms of rest: work that the kernel
//! puts off must not be hidden. Their order is turned round each time. The state of all lies on one file system in
//! memory, in a mount namespace of this process, as `/run` would be. Their cgroups are below one of this benchmark's own,
//! which is gone afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cgroup::place::Place;
use cgroup::{Cgroup, Controller, Hierarchies, Version};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

/// How often each starts.
pub const ROUNDS: usize = 60;

/// Starts before that, which fill caches.
const WARM_UP: usize = 5;

const REST: Duration = Duration::from_millis(50);

/// Prints whether a promise is kept.
pub fn promise(what: &str, measured: f64, most: f64, unit: &str) -> bool {
    let kept = measured <= most;
    println!(
        "{what:<58} {measured:>7.2}{unit} (at most {most}{unit}){}",
        if kept { "" } else { "  NOT KEPT" }
    );
    kept
}

/// The middle one of several times.
pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How long something takes, after a rest.
pub fn milliseconds(work: impl FnOnce()) -> f64 {
    thread::sleep(REST);
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e3
}

/// Folders and cgroups of this benchmark, gone when dropped.
pub struct Runners {
    /// The state of all runners, and the bundle of those of the field.
    pub folder: PathBuf,
    /// The root file system of all containers.
    pub demo: PathBuf,
    /// The trees of cgroups here.
    pub trees: Hierarchies,
    /// Below the root of each tree.
    parent: String,
}

impl Runners {
    pub fn new() -> Runners {
        // Before this process has a mount namespace of its own: it may have to be made.
        let demo = demo();
        let folder = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        mount(Some("none"), &folder, Some("tmpfs"), MsFlags::empty(), Some("mode=700")).expect("a tmpfs");
        let parent = format!("/gantry-bench-{}", std::process::id());
        Runners { folder, demo, trees: Hierarchies::detect().expect("trees"), parent }
    }

    pub fn place(&self) -> Place {
        Place::choose(&self.trees, Some(Path::new(&self.parent))).expect("a place")
    }

    /// One of our programs, with these words for its root, and for the container.
    pub fn ours(&self, binary: &str, root: &[&str], command: &[&str]) -> Command {
        let mut ours = Command::new(binary);
        ours.env("GANTRY_STATE", &self.folder).arg("run").args(["--cgroup-parent", &self.parent]);
        ours.args(["--network", "none", "--hostname", "harbour"]);
        ours.args(["--cpus", "1", "--memory", "64m", "--pids-limit", "100"]);
        ours.args(root).arg("--").args(command);
        ours
    }

    /// The words for `demo` as the root.
    pub fn rootfs(&self) -> [&str; 2] {
        ["--rootfs", self.demo.to_str().expect("a path of ours")]
    }

    /// The namespaces, mounts and limits of [`Runners::ours`], in the words of the OCI runtime specification.
    pub fn bundle(&self) -> String {
        let cgroup = format!("{}/peer", self.parent);
        BUNDLE.replace("ROOTFS", self.rootfs()[1]).replace("CGROUP", &cgroup)
    }

    /// Starts ours and, with a bundle, the runtimes of the field; the medians of ours, and whether the promise is kept,
    /// which the first of ours gives: of cgroups of version 1, half of runc's time; of version 2, crun's.
    pub fn starts(&self, ours: &[&dyn Fn() -> Command], bundle: &str) -> (Vec<f64>, bool) {
        fs::write(self.folder.join("config.json"), bundle).expect("config.json");
        let peers = ["crun", "runc"].into_iter().filter(|name| self.runs(name)).collect::<Vec<_>>();
        let mut times = vec![Vec::new(); ours.len() + peers.len()];
        let mut order: Vec<usize> = (0..times.len()).collect();
        for round in 0..WARM_UP + ROUNDS {
            for runner in &order {
                let mut start = match ours.get(*runner) {
                    Some(start) => start(),
                    None => self.peer(peers[runner - ours.len()], round),
                };
                let time = milliseconds(|| succeed(&mut start));
                if round >= WARM_UP {
                    times[*runner].push(time);
                }
            }
            order.reverse();
        }
        let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
        let (ours, theirs) = medians.split_at(ours.len());
        println!("start and end with everything: {:.2} ms", ours[0]);
        let kept = peers.iter().zip(theirs).map(|(peer, theirs)| self.compare(ours[0], peer, *theirs));
        (ours.to_vec(), kept.fold(true, |all, one| all & one))
    }

    fn compare(&self, ours: f64, peer: &str, theirs: f64) -> bool {
        let v1 = self.trees.of(Controller::Memory).is_some_and(|tree| tree.version == Version::V1);
        println!("{peer} run of an equal bundle: {theirs:.2} ms, ratio {:.2}", ours / theirs);
        match (peer, v1) {
            ("runc", true) => promise("start, as a multiple of runc's", ours / theirs, 0.5, ""),
            ("crun", false) => promise("start, as a multiple of crun's", ours / theirs, 1.0, ""),
            _ => true,
        }
    }

    /// Whether a runtime of the field is here, and works: crun does not on a hybrid machine.
    fn runs(&self, name: &str) -> bool {
        match self.peer(name, ROUNDS + WARM_UP).stdin(Stdio::null()).output() {
            Ok(done) if done.status.success() => true,
            Ok(done) => {
                println!("{name}, not measured: {}", String::from_utf8_lossy(&done.stderr).trim());
                false
            }
            Err(error) => {
                println!("{name}, not measured: {error}");
                false
            }
        }
    }

    /// One start of a runtime of the field.
    fn peer(&self, name: &str, round: usize) -> Command {
        let mut peer = Command::new(name);
        peer.arg("--root").arg(self.folder.join(name)).arg("run").arg("--bundle").arg(&self.folder);
        peer.arg(format!("gantry-bench-{}-{round}", std::process::id()));
        peer
    }

    /// What a runner of ours has for itself while its container sleeps.
    pub fn memory(&self, mut sleeping: Command) -> bool {
        let mut runner = sleeping.stdin(Stdio::null()).spawn().expect("start");
        thread::sleep(Duration::from_millis(500));
        let status = fs::read_to_string(format!("/proc/{}/status", runner.id())).expect("status");
        let kilobytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number")
        };
        println!(
            "the waiting runner has {:.2} MB resident, with the files that it shares",
            kilobytes("VmRSS:") / 1e3
        );
        let anonymous = kilobytes("RssAnon:") / 1e3;
        // The container's first process does not hear a signal that it has no handler for.
        let place = self.place();
        for name in cgroup::yard::names(&place).expect("names") {
            Cgroup::open(&place, &name).and_then(|cgroup| cgroup.kill()).expect("kill");
        }
        runner.wait().expect("wait");
        promise("memory of the waiting runner", anonymous, 1.5, " MB")
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        // Also in trees that only the peers use.
        let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|tree| tree.path());
        for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let _ = fs::remove_dir(tree.join(&self.parent[1..]));
        }
        let _ = umount(&self.folder);
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Runs a program to its end, which must be a good one.
pub fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("start");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `demo`, made by the learner's command if it is not there.
fn demo() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let demo = root.join("target/gantry/rootfs/demo");
    if !demo.is_dir() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--package", "workshop", "--bin", "workshop", "--", "rootfs"]);
        let made = cargo.current_dir(&root).output().expect("run cargo");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    demo.canonicalize().expect("the demo root file system")
}

/// What [`Runners::ours`] asks for, and nothing that it does not.
const BUNDLE: &str = r#"{
  "ociVersion": "1.0.2",
  "process": {
    "terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/",
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]
  },
  "root": {"path": "ROOTFS", "readonly": false},
  "hostname": "harbour",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
  ],
  "linux": {
    "cgroupsPath": "CGROUP",
    "resources": {
      "devices": [{"allow": false, "access": "rwm"}],
      "memory": {"limit": 67108864, "swap": 134217728},
      "cpu": {"quota": 100000, "period": 100000},
      "pids": {"limit": 100}
    },
    "namespaces": [
      {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}
    ]
  }
}"#;
