//! Readings of many containers, again and again: what `stats` does between its tables.
//!
//! The folders of a cgroup stay open from one pass to the next: a pass opens and reads files, and walks no paths.

use std::collections::BTreeMap;
use std::time::Instant;

use process::Result;

use crate::place::Place;
use crate::stats::Stats;
use crate::table::Row;
use crate::{Cgroup, yard};

// ANCHOR: sampler
/// What is known of the containers that are watched.
#[derive(Debug, Default)]
pub struct Sampler(BTreeMap<String, (Cgroup, Stats, Instant)>);

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
            let (cgroup, before) = match self.0.remove(&name) {
                Some((cgroup, stats, time)) if cgroup.is_there() => (cgroup, Some((stats, time))),
                _ => match Cgroup::open(place, &name) {
                    Ok(cgroup) => (cgroup, None),
                    // It has ended since we read the list.
                    Err(_) if names.is_empty() => continue,
                    Err(error) => return Err(error),
                },
            };
            let (stats, now) = (cgroup.stats(), Instant::now());
            let cpu_percent = before.and_then(|(before, time)| {
                let used = stats.cpu?.saturating_sub(before.cpu?);
                Some(used as f64 * 100.0 / (now - time).as_micros().max(1) as f64)
            });
            rows.push(Row { name: name.clone(), stats: stats.clone(), cpu_percent });
            self.0.insert(name, (cgroup, stats, now));
        }
        Ok(rows)
    }
}
// ANCHOR_END: sampler
