//! Stage 7: what is claimed of `overlay`.

use crate::stage::case::Case;
use crate::stage::tests;
use crate::stage::verdict::Verdict;

tests![it_runs];

pub fn it_runs(case: &Case) -> Verdict {
    case.sh(&["--layer", "demo"], "true")?.code_is(0)?;
    Ok(())
}
