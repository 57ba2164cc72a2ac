//! The table of `stats`: readings as text.

use std::fmt::Write;
use std::fs;

use crate::stats::Stats;

/// What a line of the table is made of.
#[derive(Debug)]
pub struct Row {
    /// The container.
    pub name: String,
    /// Its last reading.
    pub stats: Stats,
    /// Processor time since the reading before, by the time between: 100 is one whole processor.
    pub cpu_percent: Option<f64>,
}

// ANCHOR: table
/// All lines, with a head.
pub fn table(rows: &[Row]) -> String {
    let machine = memory_of_machine();
    let mut text = format!(
        "{:<20} {:>8}  {:<22} {:>7}  {:<18} {:>6}  CPU PRESSURE\n",
        "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "BLOCK I/O", "PIDS"
    );
    for Row { name, stats, cpu_percent } in rows {
        let limit = stats.memory_limit.unwrap_or(machine).min(machine);
        let usage = stats.memory.map(|used| format!("{} / {}", binary(used), binary(limit)));
        let share = stats.memory.map(|used| used as f64 * 100.0 / limit.max(1) as f64);
        let io = stats.io.map(|(read, written)| format!("{} / {}", decimal(read), decimal(written)));
        let _ = writeln!(
            text,
            "{name:<20} {:>8}  {:<22} {:>7}  {:<18} {:>6}  {}",
            percent(*cpu_percent),
            or_none(usage),
            percent(share),
            or_none(io),
            or_none(stats.pids.map(|pids| pids.to_string())),
            percent(stats.cpu_pressure),
        );
    }
    text
}
// ANCHOR_END: table

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "--".to_owned())
}

fn percent(share: Option<f64>) -> String {
    or_none(share.map(|share| format!("{share:.2}%")))
}

/// As Docker writes memory: powers of 1,024.
fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

/// As Docker writes traffic: powers of 1,000.
fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB"])
}

fn scaled(bytes: u64, step: f64, units: [&str; 5]) -> String {
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = if number >= 100.0 || number.fract() == 0.0 { 0 } else { 2 };
    format!("{number:.digits$}{}", units[unit])
}

fn memory_of_machine() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_docker_writes_them() {
        assert_eq!([0, 1023, 1536, 64 << 20].map(binary), ["0B", "1023B", "1.50KiB", "64MiB"]);
        assert_eq!([999, 1_500_000].map(decimal), ["999B", "1.50MB"]);
    }

    #[test]
    fn what_is_not_counted_is_no_zero() {
        let row = Row { name: "web".to_owned(), stats: Stats::default(), cpu_percent: None };
        let text = table(&[row]);
        assert_eq!(
            text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
            ["web"].iter().copied().chain(["--"; 6]).collect::<Vec<_>>()
        );
    }
}
