//! Readings of many containers, again and again: what `stats` does between its tables.
//!
//! The files of a cgroup stay open from one pass to the next: a later pass walks no paths.

use std::collections::BTreeMap;
use std::time::Instant;

use process::{Context, Result};

use crate::place::Place;
use crate::stats::{Gauges, Stats};
use crate::table::Row;
use crate::{Cgroup, yard};

// ANCHOR: sampler
/// What is known of the containers that are watched.
#[derive(Debug, Default)]
pub struct Sampler(BTreeMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    gauges: Gauges,
    stats: Stats,
    time: Instant,
}

impl Sampler {
    /// Reads all counters once, of the containers named or of all: rows, with what has happened since the last time.
    ///
    /// # Errors
    /// One that was named is not there.
    pub fn look(&mut self, place: &Place, names: &[String]) -> Result<Vec<Row>> {
        let present =
            if names.is_empty() { yard::names(place)?.into_iter().collect() } else { names.to_vec() };
        self.0.retain(|name, _| present.contains(name));
        let mut rows = Vec::new();
        for name in present {
            match self.look_at(place, &name) {
                Ok(row) => rows.push(row),
                // It has ended since we read the list.
                Err(_) if names.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    fn look_at(&mut self, place: &Place, name: &str) -> Result<Row> {
        if let Some(seen) = self.0.get_mut(name)
            && let Ok(stats) = seen.gauges.read()
        {
            let (before, now) = (std::mem::replace(&mut seen.stats, stats.clone()), Instant::now());
            let passed = (now - std::mem::replace(&mut seen.time, now)).as_micros().max(1) as f64;
            let used = stats.cpu.zip(before.cpu).map(|(now, before)| now.saturating_sub(before));
            let cpu_percent = used.map(|used| used as f64 * 100.0 / passed);
            return Ok(Row { name: name.to_owned(), stats, cpu_percent });
        }
        // New, or another one under an old name.
        let gauges = Gauges::open(&Cgroup::open(place, name)?);
        let (stats, time) = (gauges.read().during("read the counters of", name)?, Instant::now());
        self.0.insert(name.to_owned(), Seen { gauges, stats: stats.clone(), time });
        Ok(Row { name: name.to_owned(), stats, cpu_percent: None })
    }
}
// ANCHOR_END: sampler
