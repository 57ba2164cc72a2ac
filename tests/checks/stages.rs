//! Every stage's tests on the reference crates, on every ground: as real root, as one unprivileged user in a
//! user namespace, and in a kernel of its own as both.
//!
//! A trial is one test on one ground, `process::user::init_reaps_orphans`. The kernel lab has a machine for root and
//! one for the user, each booted once, by the first trial that wants it, to run all of its tests. These two trials
//! come first, so that the machines are busy beside the native tests, and what only reads their reports comes last.

#[path = "support/cgroups.rs"]
mod cgroups;
#[path = "support/copy.rs"]
mod copy;
#[path = "support/ground.rs"]
mod ground;
#[path = "support/somebody.rs"]
mod somebody;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use copy::{outcomes, subject_of};
use ground::{Ended, Skip, ended, judged, kernel, on, on_with};
use libtest_mimic::{Arguments, Trial};
use somebody::Somebody;
use workshop::build;
use workshop::course::{Chapter, Course, Need};
use workshop::lab::Ground;
use workshop::lab::cgroups::NO_CGROUPS;
use workshop::stage::runner::{self, Batch, Report, Subject};
use workshop::stage::{self, verdict::Outcome};
use workshop::vm::{Kernel, Sink};

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let course = Course::load(&copy::root()).expect("the course");
    let all = || {
        let chapters = course.chapters.iter().filter(|chapter| chapter.has_crate());
        chapters.flat_map(|chapter| {
            stage::of_chapter(chapter.number).iter().map(move |test| (chapter, test.name))
        })
    };
    let in_kernels = [("kernel_root", Ground::Root), ("kernel_user", Ground::User)]
        .map(|(name, ground)| all().map(move |(chapter, test)| in_kernel(chapter, name, ground, test)));
    let natives = [("root", Ground::Root), ("user", Ground::User)]
        .map(|(name, ground)| all().map(move |(chapter, test)| natively(chapter, name, ground, test)));
    let [mut as_root, mut as_user] = in_kernels;
    let booting = [as_root.next(), as_user.next()].into_iter().flatten();
    let mut trials: Vec<Trial> = booting.chain(natives.into_iter().flatten()).collect();
    trials.push(Trial::ignorable_test("all_of_them_as_an_ordinary_user", as_somebody));
    trials.push(Trial::ignorable_test("a_container_without_a_lab_and_without_rights", without_a_lab));
    trials.push(Trial::ignorable_test("the_machines_own_network_is_left_alone", own_network));
    trials.push(Trial::ignorable_test("the_machines_own_cgroups_are_left_alone", own_cgroups));
    trials.push(Trial::ignorable_test("a_delegated_subtree_is_enough", delegated));
    trials.push(Trial::ignorable_test("the_lab_is_the_same_in_a_kernel", the_same_lab));
    trials.extend(as_root.chain(as_user));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Two machines, and one lab beside them: its tests are done before theirs.
const AT_ONCE: usize = 3;

/// One test on this machine.
fn natively(chapter: &Chapter, name: &str, ground: Ground, test: &'static str) -> Trial {
    let number = chapter.number;
    let name = format!("{}::{name}::{test}", chapter.krate);
    Trial::ignorable_test(name, move || in_own_lab(number, ground, test))
}

/// One test in the kernel lab.
fn in_kernel(chapter: &Chapter, name: &str, ground: Ground, test: &'static str) -> Trial {
    let number = chapter.number;
    let name = format!("{}::{name}::{test}", chapter.krate);
    Trial::ignorable_test(name, move || reported(number, ground, test))
}

fn in_own_lab(chapter: u8, ground: Ground, test: &str) -> Ended {
    let mut outcome = None;
    let done = on(ground, || {
        outcome = outcomes(subject(chapter)?, ground, &[test.to_owned()])?.remove(test);
        Ok(())
    });
    match outcome {
        Some(outcome) => judged(&outcome),
        None => done,
    }
}

/// The reference crates, built once.
fn subjects() -> Result<&'static [Subject]> {
    static SUBJECTS: OnceLock<Result<Vec<Subject>, String>> = OnceLock::new();
    let built = SUBJECTS.get_or_init(|| all_built().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|text| anyhow!("{text}"))
}

fn all_built() -> Result<Vec<Subject>> {
    let root = copy::root();
    let course = Course::load(&root)?;
    // The learner's command builds it too, with fewer features than `cargo test`: now, not while a lab shows it.
    build::probe(&root)?;
    let with_crate = course.chapters.iter().filter(|chapter| chapter.has_crate());
    with_crate
        .map(|chapter| subject_of(&root, chapter, build::binary_in_silence(&root, &chapter.krate)?))
        .collect()
}

fn subject(chapter: u8) -> Result<&'static Subject> {
    subjects()?.iter().find(|subject| subject.chapter == chapter).context("the chapter has a crate")
}

/// Labs are entered another way by who is not root; on this machine, root plays one who is not.
fn as_somebody() -> Ended {
    if !nix::unistd::geteuid().is_root() {
        return Skip::Fine("that is who we are: see `user`".to_owned()).ended();
    }
    on(Ground::User, || {
        for subject in subjects()? {
            let somebody = Somebody::new(subject)?;
            let names = names_of(subject.chapter);
            let batch = Batch { subject: somebody.subject.clone(), ground: Ground::User, names };
            let mut command = Command::new("");
            command.args(runner::arguments(std::slice::from_ref(&batch))?);
            let output = somebody.command(&command).output().context("run the tests")?;
            let mut passed = 0;
            // Whoever is not root has no cgroups but by delegation: that is tried in `a_delegated_subtree_is_enough`.
            let no_cgroups = Outcome::Skipped(NO_CGROUPS.to_owned());
            runner::read_reports(output.stdout.as_slice(), &mut |report| {
                passed += usize::from([&Outcome::Passed, &no_cgroups].contains(&&report.outcome));
            })?;
            ensure!(passed == batch.names.len(), "only {passed} of {} passed: {output:?}", batch.names.len());
        }
        Ok(())
    })
}

/// All of stage 5, on both grounds; links, routes, switches and firewall of the machine are as before.
fn own_network() -> Ended {
    on(Ground::User, || {
        let before = network_of_the_machine();
        ensure!(before[0].contains("lo:"), "the machine has links: {before:?}");
        let grounds = if nix::unistd::geteuid().is_root() {
            &[Ground::User, Ground::Root][..]
        } else {
            &[Ground::User]
        };
        for ground in grounds {
            let seen = outcomes(subject(5)?, *ground, &names_of(5))?;
            let passed = seen.values().filter(|outcome| **outcome == Outcome::Passed).count();
            ensure!(passed == names_of(5).len(), "{ground:?}: only {passed} passed: {seen:?}");
        }
        let after = network_of_the_machine();
        ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
        Ok(())
    })
}

/// Tests of stage 6 on both grounds; which cgroups the machine has and what is set in them is as before.
fn own_cgroups() -> Ended {
    on_with(&[Need::CgroupDelegation], Ground::User, || {
        let before = cgroups::look();
        ensure!(!before.is_empty(), "the machine has cgroups");
        let names: Vec<String> = TRIED.map(str::to_owned).to_vec();
        for ground in [Ground::User, Ground::Root] {
            if ground == Ground::User || nix::unistd::geteuid().is_root() {
                let seen = outcomes(subject(6)?, ground, &names)?;
                ensure!(seen.values().all(|outcome| *outcome == Outcome::Passed), "{ground:?}: {seen:?}");
            }
        }
        let harm = cgroups::harm(&before, &cgroups::look());
        ensure!(harm.is_empty(), "{}", harm.join("\n"));
        Ok(())
    })
}

/// What they change: every limit, devices, the freezer, groups below, and what a killed runner leaves.
const TRIED: [&str; 7] = [
    "limits_of_processors_are_written",
    "limits_of_memory_are_written",
    "bounds_of_disks_are_written",
    "a_pause_stops_and_unpause_goes_on",
    "what_a_container_made_below_is_removed",
    "processes_in_the_way_make_room",
    "a_killed_runner_leaves_nothing_for_long",
];

/// An ordinary user of a machine with version 2, in a group that was given to her as systemd does: the lab stands in
/// it, the tests of stage 6 pass, the labs leave it as it was, and those who were in it are in a leaf of it.
fn delegated() -> Ended {
    match kernel() {
        Ok(kernel) => ended(delegated_in(kernel)),
        Err(skip) => skip.ended(),
    }
}

/// Gives user $0 a group and runs the rest of the words as that user in it.
const DELEGATE: &str = "set -e; g=/sys/fs/cgroup/run.scope; mkdir $g; \
    echo '+cpu +cpuset +io +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control; \
    for f in '' /cgroup.procs /cgroup.subtree_control /cgroup.threads; do chown $0 $g$f; done; \
    echo $$ > $g/cgroup.procs; setpriv --reuid $0 --regid $0 --clear-groups \"$@\"; \
    cat /proc/self/cgroup $g/cgroup.subtree_control; ls -d $g/*/";

fn delegated_in(kernel: &Kernel) -> Result<()> {
    // The user's copies, where everybody can look.
    let somebody = Somebody::new(subject(6)?)?;
    let names = TRIED.map(str::to_owned).to_vec();
    let batch = Batch { subject: somebody.subject.clone(), ground: Ground::User, names };
    let own = somebody.command(&Command::new("")).get_program().to_owned();
    let programs = somebody.subject.programs.iter().map(|(_, file)| file.as_path());
    let files = programs.chain([somebody.subject.demo.as_path(), Path::new(&own)]);
    let machine = workshop::lab::kernel::machine(kernel, files)?;
    let machine = machine.limit(Duration::from_secs(120)).stdout(Sink::Capture).stderr(Sink::Capture);
    let mut words = ["sh", "-c", DELEGATE, &somebody::SOMEBODY.to_string()].map(OsString::from).to_vec();
    words.push(own);
    words.extend(runner::arguments(std::slice::from_ref(&batch))?.map(OsString::from));
    let done = machine.run(words)?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let passed = text.lines().filter(|line| line.contains("\"passed\"")).count();
    let end = "0::/run.scope/caller.scope\n/sys/fs/cgroup/run.scope/caller.scope/\n";
    let told = String::from_utf8_lossy(&done.stderr);
    ensure!(passed == TRIED.len() && text.ends_with(end), "{text}\n{told}");
    Ok(())
}

/// Counters change by themselves, and are left out.
fn network_of_the_machine() -> Vec<String> {
    let columns = |file: &str, wanted: &[usize]| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                wanted.iter().filter_map(|column| words.get(*column).copied()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let switches = [
        "ipv4/ip_forward",
        "ipv4/conf/all/route_localnet",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/default/accept_ra",
    ];
    let mut all = vec![
        columns("/proc/net/dev", &[0]),
        columns("/proc/net/route", &[0, 1, 2, 3, 6, 7]),
        columns("/proc/net/ipv6_route", &[0, 1, 2, 3, 4, 9]),
    ];
    all.extend(switches.map(|switch| columns(&format!("/proc/sys/net/{switch}"), &[0])));
    // As root, and where there is nft(8); the rules of others may count packets.
    let listed = Command::new("nft").args(["--stateless", "list", "ruleset"]).output();
    all.push(
        listed.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned()),
    );
    all
}

/// The whole of chapters 1 to 4 on the machine itself, by an ordinary user: what the book promises.
fn without_a_lab() -> Ended {
    on(Ground::User, || {
        let somebody = Somebody::new(subject(4)?)?;
        let mut container = somebody.program(&somebody.subject.binary)?;
        container.arg("run").arg("--rootfs").arg(&somebody.subject.demo);
        let script =
            "id -u; echo $$; hostname; read inside outside count < /proc/self/uid_map; echo $inside $outside";
        container.args(["--hostname", "harbour", "--", "sh", "-c", script]);
        let output = container.output().context("run the container")?;
        let id = if nix::unistd::geteuid().is_root() {
            somebody::SOMEBODY
        } else {
            nix::unistd::geteuid().as_raw()
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text == format!("0\n1\nharbour\n0 {id}\n"), "{output:?}");
        Ok(())
    })
}

fn names_of(chapter: u8) -> Vec<String> {
    stage::of_chapter(chapter).iter().map(|test| test.name.to_owned()).collect()
}

/// `cargo workshop lab`, on both grounds: the same folder, the same programs, the command's own exit code.
fn the_same_lab() -> Ended {
    if let Err(skip) = kernel() {
        return skip.ended();
    }
    on(Ground::User, || {
        let script = "pwd; ls; id -u; my-mount run --rootfs demo -- sh -c 'echo $$'; probe fds; exit 3";
        let lab = |ground: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_workshop"));
            command.args(["lab", "--ground", ground, "--solution", "--", "sh", "-c", script]);
            command.current_dir(copy::root()).output().context("run the workshop")
        };
        let (user, kernel) = (lab("user")?, lab("kernel")?);
        let text = String::from_utf8_lossy(&user.stdout).into_owned();
        ensure!(user.status.code() == Some(3) && text == "/run/lab/work\ndemo\n0\n1\n0 1 2\n", "{user:?}");
        ensure!((&kernel.status, &kernel.stdout) == (&user.status, &user.stdout), "{kernel:?}");
        Ok(())
    })
}

fn reported(chapter: u8, ground: Ground, test: &str) -> Ended {
    static BY_ROOT: OnceLock<Result<Vec<Report>, String>> = OnceLock::new();
    static BY_USER: OnceLock<Result<Vec<Report>, String>> = OnceLock::new();
    let reports = if ground == Ground::Root { &BY_ROOT } else { &BY_USER };
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(skip) => return skip.ended(),
    };
    let reports = reports.get_or_init(|| all_in(kernel, ground).map_err(|error| format!("{error:#}")));
    let of_this = |report: &&Report| (report.chapter, report.name.as_str()) == (chapter, test);
    match reports {
        Ok(reports) => match reports.iter().find(of_this) {
            Some(report) => judged(&report.outcome),
            None => Err("the machine did not report it".into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// All tests on one ground, in one machine.
fn all_in(kernel: &Kernel, ground: Ground) -> Result<Vec<Report>> {
    let of = |subject: &Subject| Batch { subject: subject.clone(), ground, names: names_of(subject.chapter) };
    let batches: Vec<Batch> = subjects()?.iter().map(of).collect();
    let mut reports = Vec::new();
    stage::kernel::run(kernel, &batches, &mut |report| reports.push(report.clone()))?;
    Ok(reports)
}
