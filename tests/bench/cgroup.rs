//! What limits cost: a start with everything that chapters 1 to 6 have, against the runtimes of the field; a look at a
//! hundred containers; the memory of the runner that waits.
//!
//! All three runners are programs, started by turns from this process after 50 ms of rest, with the same namespaces, the
//! same mounts, the same limits: `cgroup run`, and `crun run` and `runc run` of a bundle that says the same, where they
//! are installed. Everything happens below cgroups of the benchmark's own, which are gone afterwards.
//!
//! `cargo bench -p cgroup --bench cgroup` prints medians and ratios, and fails where a promise is not kept. Which promise
//! holds depends on the cgroups: of version 1, half of runc's time; of version 2, crun's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cgroup::place::Place;
use cgroup::sampler::Sampler;
use cgroup::yard::Yard;
use cgroup::{Cgroup, Controller, Hierarchies, Version};

/// How often each runner starts.
const ROUNDS: usize = 60;

/// Starts before that, which fill caches.
const WARM_UP: usize = 5;

/// How many containers are looked at.
const CONTAINERS: usize = 100;

/// The rest before each: work that the kernel puts off must not be hidden.
const REST: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let bench = Bench::new();
    let (alone, mut kept) = bench.births();
    kept &= bench.statistics(alone);
    kept &= bench.memory();
    ExitCode::from(u8::from(!kept))
}

/// Prints whether a promise is kept.
fn promise(what: &str, measured: f64, most: f64, unit: &str) -> bool {
    let kept = measured <= most;
    println!(
        "{what:<58} {measured:>7.2}{unit} (at most {most}{unit}){}",
        if kept { "" } else { "  NOT KEPT" }
    );
    kept
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    thread::sleep(REST);
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e3
}

/// Folders and cgroups of this benchmark, gone when dropped.
struct Bench {
    folder: PathBuf,
    demo: PathBuf,
    /// Below the root of each tree.
    parent: String,
    trees: Hierarchies,
}

impl Bench {
    fn new() -> Bench {
        let folder = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let parent = format!("/gantry-bench-{}", std::process::id());
        Bench { folder, demo: demo(), parent, trees: Hierarchies::detect().expect("trees") }
    }

    fn place(&self) -> Place {
        Place::choose(&self.trees, Some(Path::new(&self.parent))).expect("a place")
    }

    /// Ours, with these words for the container.
    fn ours(&self, command: &[&str]) -> Command {
        let mut ours = Command::new(env!("CARGO_BIN_EXE_cgroup"));
        ours.env("GANTRY_STATE", &self.folder).args([
            "run",
            "--network",
            "none",
            "--cgroup-parent",
            &self.parent,
        ]);
        ours.args([
            "--cpus",
            "1",
            "--memory",
            "64m",
            "--pids-limit",
            "100",
            "--hostname",
            "harbour",
            "--rootfs",
        ]);
        ours.arg(&self.demo).arg("--").args(command);
        ours
    }

    fn births(&self) -> (f64, bool) {
        let v1 = self.trees.of(Controller::Memory).is_some_and(|tree| tree.version == Version::V1);
        self.write_bundle();
        let peers = ["crun", "runc"].into_iter().filter(|name| self.runs(name)).collect::<Vec<_>>();
        let mut times = vec![Vec::new(); peers.len() + 1];
        for round in 0..WARM_UP + ROUNDS {
            let mut these = vec![self.our_start()];
            these.extend(peers.iter().map(|peer| milliseconds(|| succeed(&mut self.peer(peer, round)))));
            if round >= WARM_UP {
                times.iter_mut().zip(these).for_each(|(all, time)| all.push(time));
            }
        }
        let ours = median(&times[0]);
        println!("start and end with everything: {ours:.2} ms");
        let mut kept = true;
        for (peer, times) in peers.iter().zip(&times[1..]) {
            let theirs = median(times);
            println!("{peer} run of an equal bundle: {theirs:.2} ms, ratio {:.2}", ours / theirs);
            kept &= match (*peer, v1) {
                ("runc", true) => promise("start, as a multiple of runc's", ours / theirs, 0.5, ""),
                ("crun", false) => promise("start, as a multiple of crun's", ours / theirs, 1.0, ""),
                _ => true,
            };
        }
        (ours, kept)
    }

    fn our_start(&self) -> f64 {
        milliseconds(|| succeed(&mut self.ours(&["/bin/true"])))
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

    /// What ours does, in the words of the OCI runtime specification.
    fn write_bundle(&self) {
        let text = BUNDLE
            .replace("ROOTFS", &self.demo.display().to_string())
            .replace("CGROUP", &format!("{}/peer", self.parent));
        fs::write(self.folder.join("config.json"), text).expect("config.json");
    }

    /// A hundred containers, each with a process: one more start, and one pass over all their counters.
    fn statistics(&self, alone: f64) -> bool {
        let place = self.place();
        let yard = Yard::enter(&place).expect("the yard");
        let mut running: Vec<(Cgroup, Child)> = Vec::new();
        for number in 0..CONTAINERS {
            let cgroup = yard.create(&format!("quay{number}")).expect("a cgroup");
            let process = Command::new("sleep").arg("1000").spawn().expect("a process");
            cgroup.add(process.id() as i32).expect("add");
            running.push((cgroup, process));
        }
        drop(yard);
        let mut crowded = Vec::new();
        (0..ROUNDS / 3).for_each(|_| crowded.push(self.our_start()));
        println!("start with {CONTAINERS} neighbours, by that alone: {:.2}", median(&crowded) / alone);
        let mut sampler = Sampler::default();
        let first = milliseconds(|| drop(sampler.look(&place, &[]).expect("look")));
        let later: Vec<f64> = (0..20)
            .map(|_| milliseconds(|| assert_eq!(sampler.look(&place, &[]).expect("look").len(), CONTAINERS)))
            .collect();
        for (cgroup, mut process) in running {
            cgroup.kill().expect("kill");
            process.wait().expect("wait");
            cgroup.remove().expect("remove");
        }
        cgroup::yard::tidy(&place);
        println!("stats of {CONTAINERS} containers: {first:.2} ms the first time");
        promise("stats of a hundred containers", median(&later), 20.0, " ms")
    }

    /// What the runner itself takes while its container runs.
    fn memory(&self) -> bool {
        let mut runner = self.ours(&["/bin/sleep", "1000"]).stdin(Stdio::null()).spawn().expect("start");
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
        // SAFETY: a process of ours that we have not waited for.
        unsafe { libc::kill(runner.id() as i32, libc::SIGTERM) };
        thread::sleep(Duration::from_millis(100));
        let place = self.place();
        for name in cgroup::yard::names(&place).expect("names") {
            Cgroup::open(&place, &name).and_then(|cgroup| cgroup.kill()).expect("kill");
        }
        runner.wait().expect("wait");
        promise("memory of the waiting runner", anonymous, 1.5, " MB")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Also in trees that only the peers use.
        let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|tree| tree.path());
        for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let _ = fs::remove_dir(tree.join(&self.parent[1..]));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn succeed(command: &mut Command) {
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

/// The namespaces, mounts and limits that `cgroup run` gives, and nothing that it does not.
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
