//! The tour, taken for real: what both sides see must differ where a chapter isolates, and agree elsewhere.
//!
//! This program is also the looker in the lab, and the visitor who is another user or stands on a machine
//! that forbids user namespaces: it starts itself again, as the learner's command does.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{getegid, geteuid};
use workshop::course::Course;
use workshop::tour::{self, NAMESPACES, Tour, View};
use workshop::workspace::Scratch;
use workshop::{hidden, lab, rootfs};

type Outcome = Result<(), Failed>;
type Test = fn(&Luggage) -> Outcome;

/// Set for the child that visits: the folder with what the lab needs.
const VISIT: &str = "GANTRY_TEST_TOUR";

/// The last program that there is: it can do the most.
const NEWEST: &str = "my-security";

/// Both ends of what the programs of chapters 1 to 8 isolate.
const ISOLATED: [&str; 7] = ["pid", "mnt", "uts", "ipc", "user", "net", "cgroup"];

fn main() -> ExitCode {
    hidden::dispatch();
    if let Some(folder) = std::env::var_os(VISIT) {
        return visitor(&Luggage { folder: folder.into() });
    }
    let scratch = Scratch::new("tour").expect("a scratch folder");
    let luggage = Arc::new(Luggage::pack(scratch.path()).expect("what the lab needs"));
    let possible = ask(&luggage, || Ok(())).is_ok_and(|output| output.status.success());
    let skip = !possible && std::env::var_os("GANTRY_MUST_RUN").is_none();
    let tests: [(&str, Test); 5] = [
        ("both_sides_differ_where_they_must_and_agree_elsewhere", both_sides),
        ("an_ordinary_user_sees_the_same", ordinary_user),
        ("the_page_follows_what_was_seen", page_follows),
        ("nothing_is_left_behind", nothing_left),
        ("where_it_is_forbidden_the_fix_is_told", fix_is_told),
    ];
    let trial = |(name, test): (&str, Test)| {
        let luggage = Arc::clone(&luggage);
        Trial::test(name, move || test(&luggage)).with_ignored_flag(skip)
    };
    // One at a time: a program that was copied cannot be started while another test forks with it open.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, tests.map(trial).into()).exit_code()
}

fn both_sides(luggage: &Luggage) -> Outcome {
    compare(&luggage.visit()?)
}

/// Every claim of the page, on the data.
fn compare(tour: &Tour) -> Outcome {
    let (inside, outside, host) = (&tour.seen.inside, &tour.seen.outside, &tour.seen.host);
    ensure(inside.kernel == host.kernel && inside.kernel == outside.kernel, "one kernel", tour)?;
    ensure(inside.pid == 1 && inside.numbers == [1] && inside.processes == 1, "alone, as PID 1", tour)?;
    ensure(outside.pid > 1 && outside.numbers == [outside.pid, 1], "another number outside", tour)?;
    ensure(host.processes > inside.processes, "the host sees more", tour)?;
    ensure(inside.namespaces == outside.namespaces, "both sides speak of one process", tour)?;
    for kind in NAMESPACES.iter().filter(|kind| host.namespaces.contains_key(kind.link)) {
        let own = inside.namespaces.get(kind.link) != host.namespaces.get(kind.link);
        ensure(own == ISOLATED.contains(&kind.link), kind.link, tour)?;
    }
    let folder = &tour.seen.folder;
    ensure(inside.root == *folder && outside.root == *folder, "its root is the folder", tour)?;
    ensure(host.root != *folder && inside.names == outside.names, "its root is its own", tour)?;
    let mounts = |view: &View| view.mounts.iter().map(|mount| mount.id).collect::<BTreeSet<_>>();
    ensure(mounts(inside) == mounts(outside), "one mount table from both sides", tour)?;
    ensure(mounts(inside).is_disjoint(&mounts(host)), "no mount in both tables", tour)?;
    let here = tour.here.as_deref().unwrap_or_default();
    ensure(here.len() > 2 && here.ends_with(&outside.numbers), "it is a process of this machine", tour)?;
    ensure(tour.code == 0 && tour.left.is_empty(), "it ended and left nothing", tour)
}

fn ordinary_user(luggage: &Luggage) -> Outcome {
    let output = ask(luggage, || Ok(()))?;
    let page = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    expect(output.status.success() && said.is_empty(), &said)?;
    expect(page.contains("its own (chapter 3)") && page.contains("cargo workshop check 1"), &page)
}

fn page_follows(luggage: &Luggage) -> Outcome {
    let mut tour = luggage.visit()?;
    let page = page(&tour)?;
    let wide = page.lines().find(|line| line.chars().count() > 80);
    expect(wide.is_none(), wide.unwrap_or_default())?;
    let pid = format!("its PID {} {}", tour.seen.inside.pid, tour.seen.outside.pid);
    says(&page, &[&pid, "its own (chapter 1)", "its own (chapter 6)", "under two names", "left nothing"])?;
    // As if another program had been run: the same page must then say the contrary.
    let host = tour.seen.host.clone();
    tour.seen.inside.namespaces.extend(["pid", "cgroup"].map(|kind| (kind.into(), host.namespaces[kind])));
    tour.seen.inside.mounts.clone_from(&host.mounts);
    tour.seen.inside.root = host.root;
    tour.seen.inside.kernel = "2.2".into();
    tour.left = vec!["mount left: /x".into()];
    let page = self::page(&tour)?;
    let contrary = [
        "still the host's (chapter 1)",
        "mounts are in both tables",
        "Two different folders",
        "Two kernels",
        "These are two processes",
        "mount left: /x",
    ];
    says(&page, &contrary)?;
    let cgroup = page.lines().find(|line| line.starts_with("  cgroup")).unwrap_or_default();
    expect(cgroup.contains("still the host's (chapter 6)"), cgroup)
}

/// That the page says each of these, however its lines are broken.
fn says(page: &str, parts: &[&str]) -> Outcome {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let missing = parts.iter().find(|part| !words(page).contains(&words(part)));
    expect(missing.is_none(), &format!("no `{}` in\n{page}", missing.unwrap_or(&"")))
}

fn page(tour: &Tour) -> Result<String, Failed> {
    let course = Course::load(root())?;
    Ok(tour::page(&course, course.chapter(2)?, tour))
}

fn nothing_left(luggage: &Luggage) -> Outcome {
    let table = || fs::read_to_string("/proc/self/mountinfo");
    let before = table()?;
    let tour = luggage.visit()?;
    expect(before == table()?, "the mount table has changed")?;
    let here = tour.here.ok_or("the process was not found from here")?;
    let numbers = format!("NSpid:\t{}", here.iter().map(i32::to_string).collect::<Vec<_>>().join("\t"));
    let status = fs::read_to_string(format!("/proc/{}/status", here[0])).unwrap_or_default();
    expect(!status.contains(&numbers), "the container still runs")?;
    let mark = format!("{}={}\0", lab::MARK, std::process::id());
    for entry in fs::read_dir("/proc")?.flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&environment).contains(&mark);
        expect(!ours, &format!("{} is still there", entry.path().display()))?;
    }
    Ok(())
}

fn fix_is_told(luggage: &Luggage) -> Outcome {
    let output = ask(luggage, forbid_user_namespaces)?;
    let said = String::from_utf8_lossy(&output.stderr);
    expect(!output.status.success() && output.stdout.is_empty(), "it went well")?;
    let words = ["does not let us", "max_user_namespaces", "cargo workshop doctor", "workshop lab --kernel"];
    says(&said, &words)
}

/// Takes the tour, compares, and shows the page.
fn visitor(luggage: &Luggage) -> ExitCode {
    let shown = luggage.visit().and_then(|tour| {
        compare(&tour)?;
        page(&tour)
    });
    match shown {
        Ok(page) => {
            print!("{page}");
            ExitCode::SUCCESS
        }
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or("no message"));
            ExitCode::FAILURE
        }
    }
}

/// Sends an ordinary user on tour, on the machine that `machine` makes.
fn ask(luggage: &Luggage, machine: fn() -> nix::Result<()>) -> std::io::Result<Output> {
    let mut command = Command::new(luggage.folder.join("visitor"));
    command.env(VISIT, &luggage.folder);
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    // SAFETY: between fork and exec only system calls run.
    unsafe { command.pre_exec(move || Ok(machine()?)) };
    command.output()
}

/// A user namespace of one's own has switches of its own: in it, an ordinary user may make no other.
fn forbid_user_namespaces() -> nix::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    set_dumpable(true)?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    let put = |file: &str, text: String| fs::write(file, text).map_err(|_| Errno::EPERM);
    put("/proc/self/setgroups", "deny".into())?;
    put("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    put("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    put("/proc/sys/user/max_user_namespaces", "0".into())
}

/// What a visitor needs, where every user may read it.
struct Luggage {
    folder: PathBuf,
}

impl Luggage {
    fn pack(folder: &Path) -> anyhow::Result<Luggage> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        for (name, program) in lab::programs(root(), &Course::load(root())?, true)? {
            fs::copy(program, folder.join(name))?;
        }
        fs::copy(std::env::current_exe()?, folder.join("visitor"))?;
        rootfs::copy(&rootfs::demo(root())?, &folder.join("demo"))?;
        Ok(Luggage { folder: folder.to_owned() })
    }

    fn visit(&self) -> Result<Tour, Failed> {
        let programs = [NEWEST, lab::PROBE].map(|name| (name.to_owned(), self.folder.join(name)));
        tour::visit(&programs, &self.folder.join("demo"), NEWEST).map_err(|error| format!("{error:#}").into())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root")
}

fn ensure(holds: bool, claim: &str, tour: &Tour) -> Outcome {
    expect(holds, &format!("not so: {claim}\n{tour:#?}"))
}

fn expect(holds: bool, otherwise: &str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
