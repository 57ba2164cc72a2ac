//! What limits cost: a start with everything that chapters 1 to 6 have, against the runtimes of the field; a look at a
//! hundred containers; the memory of the runner that waits.
//!
//! All three runners get the same namespaces, the same mounts, the same limits: `cgroup run`, and `crun run` and
//! `runc run` of a bundle that says the same, where they are installed.
//!
//! `cargo bench -p cgroup --bench cgroup` prints medians and ratios, and fails where a promise is not kept. It needs
//! root.

mod runners;

use std::process::{Child, Command, ExitCode};

use cgroup::Cgroup;
use cgroup::sampler::Sampler;
use cgroup::yard::Yard;
use runners::{ROUNDS, Runners, median, milliseconds, promise, succeed};

/// How many containers are looked at.
const CONTAINERS: usize = 100;

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let runners = Runners::new();
    let ours = |command: &[&str]| runners.ours(env!("CARGO_BIN_EXE_cgroup"), &runners.rootfs(), command);
    let start = || ours(&["/bin/true"]);
    let (medians, mut kept) = runners.starts(&[&start], &runners.bundle());
    kept &= statistics(&runners, &start, medians[0]);
    kept &= runners.memory(ours(&["/bin/sleep", "1000"]));
    ExitCode::from(u8::from(!kept))
}

/// A hundred containers, each with a process: one more start, and one pass over all their counters.
fn statistics(runners: &Runners, start: &dyn Fn() -> Command, alone: f64) -> bool {
    let place = runners.place();
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
    (0..ROUNDS / 3).for_each(|_| crowded.push(milliseconds(|| succeed(&mut start()))));
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
