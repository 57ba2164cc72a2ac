//! A seccomp profile as it stands in its file, in Docker's format.
//!
//! It is the OCI runtime specification's list of rules, with two additions: `archMap` says which other kinds of
//! programs a machine runs, and `includes` and `excludes` make a rule depend on capabilities, architecture and
//! kernel. Nothing is decided here; [`crate::resolve`] does that. A key that we do not know is an error: in a list of
//! what is allowed, a test that is silently left out allows too much.

use process::{Error, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Docker's default profile.
pub const DEFAULT: &str = include_str!("../data/docker-default.json");

/// Stands for [`DEFAULT`] in names of filters: a number computed when this crate is compiled (FNV-1a), since to digest the
/// text at each start would take longer than to read the filter. Nobody else chooses this text, so no collision is
/// to be feared.
pub const DEFAULT_NUMBER: u64 = {
    let (text, mut hash, mut at) = (DEFAULT.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < text.len() {
        hash = (hash ^ text[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};

// ANCHOR: profile
/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Where no rule fits.
    pub default_action: ActionName,
    /// With which error number; EPERM if not given.
    pub default_errno_ret: Option<u16>,
    /// Whose calls are let in, where there is no `archMap`.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// What kinds of programs the machines run.
    #[serde(default)]
    pub arch_map: Vec<ArchMap>,
    /// `SECCOMP_FILTER_FLAG_*`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The rules.
    #[serde(default)]
    pub syscalls: Vec<Entry>,
}

/// What programs an architecture runs besides its own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchMap {
    /// `SCMP_ARCH_X86_64`.
    pub architecture: String,
    /// `SCMP_ARCH_X86`, `SCMP_ARCH_X32`.
    pub sub_architectures: Option<Vec<String>>,
}

/// One rule for some calls.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The calls.
    #[serde(default)]
    pub names: Vec<String>,
    /// One call, as older profiles write it.
    pub name: Option<String>,
    /// What is done.
    pub action: ActionName,
    /// The error number, or what a tracer is told.
    pub errno_ret: Option<u16>,
    /// Tests of arguments.
    pub args: Option<Vec<Argument>>,
    /// For people.
    #[serde(rename = "comment")]
    pub _comment: Option<String>,
    /// When the rule counts.
    #[serde(default)]
    pub includes: Conditions,
    /// When it does not.
    #[serde(default)]
    pub excludes: Conditions,
}

/// A test of an argument.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Argument {
    /// Which, 0 to 5.
    pub index: u8,
    /// With what it is compared; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// With what the masked argument is compared.
    #[serde(default)]
    pub value_two: u64,
    /// How.
    pub op: Operator,
}

/// On what a rule depends.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// Capabilities of the container.
    #[serde(default)]
    pub caps: Vec<String>,
    /// Architectures of the machine, as Go calls them.
    #[serde(default)]
    pub arches: Vec<String>,
    /// The oldest kernel, `4.8`.
    #[serde(default, deserialize_with = "kernel")]
    pub min_kernel: Option<(u32, u32)>,
}
// ANCHOR_END: profile

// ANCHOR: kernel
/// A kernel's version as profiles write it. Anything else is an error: a rule whose condition nobody understands must
/// neither count nor be left out.
fn kernel<'a, D: Deserializer<'a>>(from: D) -> std::result::Result<Option<(u32, u32)>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let number = |word: &str| word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten();
    let pair = text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    let wrong = || D::Error::custom(format!("minKernel {text:?}: write two numbers, as `4.8`"));
    pair.ok_or_else(wrong).map(Some)
}
// ANCHOR_END: kernel

/// What to do, as libseccomp calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum ActionName {
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}

/// How to compare, as libseccomp calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum Operator {
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// The profile in a text; `origin` is what to call it in an error.
///
/// # Errors
/// It is no JSON, or says something that we do not know.
pub fn parse(text: &str, origin: &str) -> Result<Profile> {
    serde_json::from_str(text).map_err(|error| Error::refused("read the seccomp profile", origin, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_two_numbers() {
        let of = |version: &str| {
            let rule =
                format!(r#""name":"read","action":"SCMP_ACT_KILL","excludes":{{"minKernel":{version}}}"#);
            parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{{rule}}}]}}"#), "mine")
        };
        assert_eq!(of(r#""4.8""#).unwrap().syscalls[0].excludes.min_kernel, Some((4, 8)));
        assert_eq!(of("null").unwrap().syscalls[0].excludes.min_kernel, None);
        for wrong in ["4.x", "", "4", "4.", ".8", "4.8.1", "+4.8", "4.8-rc1", "4 .8", "99999999999.1"] {
            let error = of(&format!("{wrong:?}")).unwrap_err().to_string();
            assert!(error.contains("`4.8`"), "{wrong}: {error}");
        }
    }
}
