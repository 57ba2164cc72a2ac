//! Stage 6: what a cgroup tells of its container.

use super::cgroup::{is_burned, on_quay, percent, start_quay, stop};
use crate::stage::case::Case;
use crate::stage::cgroups::{NAME, hierarchy, none_is_left};
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

/// The line of a container in the table of `stats`, in words.
fn row(case: &Case, name: &str) -> Result<Vec<String>, Trouble> {
    let run = case.run(&["stats", "--no-stream", name])?;
    run.code_is(0)?.out_has("NAME")?;
    let line = run.out.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.ok_or_else(|| fail(format!("a line for {name}"), &run.out))?;
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

/// `8.5MiB` in MiB.
fn mebibytes(word: &str) -> Option<f64> {
    let scale = [("GiB", 1024.0), ("MiB", 1.0), ("KiB", 1.0 / 1024.0)];
    scale.iter().find_map(|(unit, factor)| Some(word.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

pub fn statistics_tell_what_was_used(case: &Case) -> Verdict {
    hierarchy("memory")?;
    let eater = start_quay(case, &["-m", "64m", "--pids-limit", "50"], &["probe", "eat", "32m"])?;
    let words = row(case, NAME)?;
    stop(eater)?.code_is(0)?;
    let told = words.join(" ");
    let [_, cpu, used, _, limit, share, ..] = &words[..] else { return Err(fail("seven columns", told)) };
    let used = mebibytes(used).unwrap_or_default();
    holds((32.0..48.0).contains(&used), "32 MiB are in use, and a little", &told)?;
    same("the limit in MiB", Some(64.0), mebibytes(limit))?;
    let share: f64 = share.trim_end_matches('%').parse().unwrap_or_default();
    holds((share - used * 100.0 / 64.0).abs() < 1.0, "the share is that of the limit", &told)?;
    holds(words.iter().any(|word| word == "1"), "one process", &told)?;
    let idle: f64 = cpu.trim_end_matches('%').parse().unwrap_or(100.0);
    holds(idle < 10.0, "it sleeps", &told)?;
    let busy = start_quay(case, &["--cpus", "0.3"], &["sh", "-c", "probe burn 4; exec probe hold"])?;
    let words = row(case, NAME)?;
    let busy = busy.until("it has burned", is_burned)?;
    let (seen, got) =
        (words[1].trim_end_matches('%').parse::<f64>().unwrap_or_default(), percent(&busy.out_so_far()?)?);
    stop(busy)?.code_is(0)?;
    holds((seen - got).abs() < 10.0, format!("about {got} percent of a processor"), words.join(" "))?;
    case.run(&["stats", "--no-stream", "pier"])?.code_is(125)?.err_has("pier")?.err_is_one_line()?;
    none_is_left("containers that were looked at")
}

pub fn events_are_told(case: &Case) -> Verdict {
    hierarchy("memory")?;
    // The child is killed, and the container lives on.
    let script = "echo ready; while ! test -e /go; do sleep 0.02; done; probe eat 200m; exec probe hold";
    let hog = start_quay(case, &["-m", "24m"], &["sh", "-c", script])?;
    let events = case.start(&["events", NAME])?;
    // Whoever listens has the file open.
    let listens = format!("/proc/{}/fd", events.pid());
    let events = events.until("`events` listens", |_| {
        let opened = std::fs::read_dir(&listens).into_iter().flatten().flatten();
        let name = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).unwrap_or_default();
        Ok(opened.map(name).any(|file| file.to_string_lossy().contains("pids.events")))
    })?;
    std::fs::write(case.demo().join("go"), "")?;
    let events = events.until("the kernel's kill is told", |running| {
        Ok(running
            .out_so_far()?
            .lines()
            .any(|line| line.starts_with("memory ") && line.ends_with("oom_kill 1")))
    })?;
    case.run(&["kill", NAME])?.code_is(0)?;
    hog.ends("it was killed")?.code_is(137)?.err_has("my-cgroup: oom: ")?;
    events.ends("the container's end is the end of its events")?.code_is(0)?;
    case.run(&["events", "pier"])?.code_is(125)?.err_has("pier")?.err_is_one_line()?;
    on_quay(case, &[], "true")?.code_is(0)?;
    none_is_left("a container that was watched")
}

pub fn controllers_are_listed(case: &Case) -> Verdict {
    let run = case.run(&["controllers"])?;
    run.code_is(0)?;
    for name in ["cpu", "cpuset", "memory", "io", "pids", "freezer", "devices"] {
        let hierarchy = hierarchy(name)?;
        let called = if name == "io" { hierarchy.pick("blkio", "io") } else { name };
        let line = run.out.lines().find(|line| line.split_whitespace().next() == Some(called));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let (version, top) = (hierarchy.pick("v1", "v2"), hierarchy.top.display().to_string());
        run.claim(words == [called, version, &top], format!("a line `{called} {version} {top}`"))?;
    }
    Ok(())
}
