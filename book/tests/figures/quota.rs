//! The quota figure's `simulate` against the `cpu.stat` of a cgroup in which threads burn CPU time.
//!
//! Times are microseconds. On a busy machine a program gets its quota late in a period, and waits less for the next:
//! so the cgroup has the highest weight there is, and a measurement that fails is made again, at most twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::place::{Place, Skip, own_machine};
use crate::script::Script;

/// What is tried: quota, period, threads, what each wants in percent of a CPU.
const CASES: [(u64, u64, u64, u64); 4] = [
    (20_000, 100_000, 1, 100),
    (60_000, 100_000, 2, 100),
    (5_000, 20_000, 1, 100),
    (250_000, 500_000, 1, 20),
];

/// How long each burns.
const DURATION: u64 = 2_000_000;

/// Compares all cases in one place.
///
/// # Errors
/// The figure says something else than the kernel, thrice.
pub fn check(place: Place) -> Result<()> {
    let mut script = Script::load("quota")?;
    for (quota, period, threads, demand) in CASES {
        let settings = json!({ "quota": quota, "period": period, "threads": threads, "demand": demand, "duration": DURATION });
        retry(|| compare(place, &mut script, &settings))?;
    }
    Ok(())
}

/// The last of three attempts counts; where it cannot be tried at all, one is enough.
fn retry(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..2 {
        match attempt() {
            Err(error) if !error.is::<Skip>() => {}
            done => return done,
        }
    }
    attempt()
}

fn compare(place: Place, script: &mut Script, settings: &Value) -> Result<()> {
    let measured = place.ask("quota", false, settings)?;
    let mut settings = settings.clone();
    settings["cpus"] = measured["cpus"].clone();
    let figure = script.call("simulate", &settings)?;
    let cpus = figure["busy"].as_f64().context("no number of CPUs")?;
    // The burning begins and ends within a period, and the timer of the last may fire before the file is read.
    let period = number(&settings, "period")?;
    let allowed = [
        ("periods", 2.0),
        ("throttled", 2.0),
        ("throttledTime", 0.15 * number(&figure, "throttledTime")? + cpus * period),
        // Of a CPU: 3 percent.
        ("usage", 0.03 * DURATION as f64),
    ];
    for (name, most) in allowed {
        let (says, is) = (number(&figure, name)?, number(&measured, name)?);
        ensure!(
            (says - is).abs() <= most,
            "{name}: the figure says {says}, the kernel {is}, with {settings}"
        );
    }
    Ok(())
}

fn number(values: &Value, name: &str) -> Result<f64> {
    values[name].as_f64().with_context(|| format!("no number {name} in {values}"))
}

/// Burns in a cgroup of its own, and reads what the kernel has counted.
///
/// # Errors
/// [`Skip`] where no cgroup of ours can have a quota.
pub fn measure(settings: &Value) -> Result<Value> {
    let setting = |name: &str| settings[name].as_u64().with_context(|| format!("no {name}"));
    let (period, duration) =
        (Duration::from_micros(setting("period")?), Duration::from_micros(setting("duration")?));
    let group = Group::make(setting("quota")?, setting("period")?)?;
    let want = period.mul_f64(setting("demand")? as f64 / 100.0);
    group.enter()?;
    let end = Instant::now() + duration;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..setting("threads")?).map(|_| scope.spawn(move || burn(want, period, end))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("burning does not panic"))
    })?;
    let usage = cpu_time(UsageWho::RUSAGE_SELF)?.as_micros() as u64;
    let mut seen = group.read(usage)?;
    seen["cpus"] = cpus()?.into();
    Ok(seen)
}

/// The CPUs that we may run on. The standard library's count would be that of the quota.
fn cpus() -> Result<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count())
}

/// Wants `want` of CPU time in each period, as soon as it begins.
fn burn(want: Duration, period: Duration, end: Instant) -> Result<()> {
    let mut next = Instant::now();
    while Instant::now() < end {
        let start = cpu_time(UsageWho::RUSAGE_THREAD)?;
        while cpu_time(UsageWho::RUSAGE_THREAD)? - start < want && Instant::now() < end {}
        next += period;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn cpu_time(whose: UsageWho) -> Result<Duration> {
    let usage = getrusage(whose).context("getrusage")?;
    let sum = usage.user_time() + usage.system_time();
    Ok(Duration::new(sum.tv_sec() as u64, sum.tv_usec() as u32 * 1000))
}

/// A cgroup with a quota; it is removed again.
struct Group {
    folder: PathBuf,
    version2: bool,
}

impl Group {
    fn make(quota: u64, period: u64) -> Result<Group> {
        let (top, version2) = hierarchy()?;
        let folder = top.join(format!("gantry-figures-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&folder) {
            bail!(Skip::Fine(format!("a cgroup {} cannot be made: {error}", folder.display())));
        }
        let group = Group { folder, version2 };
        match version2 {
            true => {
                group.write("cpu.weight", "10000")?;
                group.write("cpu.max", &format!("{quota} {period}"))?;
            }
            false => {
                group.write("cpu.shares", "262144")?;
                group.write("cpu.cfs_period_us", &period.to_string())?;
                group.write("cpu.cfs_quota_us", &quota.to_string())?;
            }
        }
        Ok(group)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let file = self.folder.join(file);
        fs::write(&file, text).with_context(|| format!("write {text} to {}", file.display()))
    }

    fn enter(&self) -> Result<()> {
        self.write("cgroup.procs", &std::process::id().to_string())
    }

    /// What the kernel has counted; version 1 has no usage there, and `usage` is what the process itself has used.
    fn read(&self, usage: u64) -> Result<Value> {
        let text = fs::read_to_string(self.folder.join("cpu.stat")).context("read cpu.stat")?;
        let count = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse().ok()).with_context(|| format!("no {name} in {text}"))
        };
        let (throttled_time, usage) = match self.version2 {
            true => (count("throttled_usec")?, count("usage_usec")?),
            false => (count("throttled_time")? / 1000, usage),
        };
        Ok(json!({ "periods": count("nr_periods")?, "throttled": count("nr_throttled")?,
            "throttledTime": throttled_time, "usage": usage }))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Back to where everybody is; a group with a process in it cannot be removed.
        let top = self.folder.parent().unwrap_or(Path::new("/"));
        let _ = fs::write(top.join("cgroup.procs"), std::process::id().to_string());
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("remove {}: {error}", self.folder.display());
        }
    }
}

/// Where the `cpu` controller is, and whether that is version 2.
fn hierarchy() -> Result<(PathBuf, bool)> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    let mounts = table.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some((before.split(' ').nth(4)?, after))
    });
    for (place, what) in mounts {
        let place = PathBuf::from(place);
        if what.starts_with("cgroup2 ") && hands_on_cpu(&place) {
            return Ok((place, true));
        }
        let options = what.rsplit(' ').next().unwrap_or_default();
        if what.starts_with("cgroup ") && options.split(',').any(|option| option == "cpu") {
            return Ok((place, false));
        }
    }
    bail!(Skip::Fine("no cgroup of ours could have a cpu.max".to_owned()))
}

/// Whether groups below this one have the controller. On a machine of our own it is switched on.
fn hands_on_cpu(top: &Path) -> bool {
    let file = top.join("cgroup.subtree_control");
    if own_machine() {
        // The next line tells whether it worked.
        let _ = fs::write(&file, "+cpu");
    }
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|name| name == "cpu"))
}
