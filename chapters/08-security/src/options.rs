//! `--security-opt`: one flag for what fits nowhere else, as Docker has it.
//!
//! `NAME=VALUE`, or with a colon as older Dockers wrote it. What this engine does not do is told, and never silently
//! accepted: whoever asks for a defence must not believe to have it.
//!
//! no_new_privs is off unless asked for, as in Docker: `sudo` works in an image that counts on it, under the ceiling
//! that the container has anyway. A volume keeps its setuid programs, too, and they are the host's to check; with
//! no_new_privs they bring nothing.

use process::{Error, Result};

use crate::landlock;
use crate::seccomp::Choice;

/// What the flags ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The seccomp profile; none said: the builtin one, or none at all for `--privileged`.
    pub seccomp: Option<Choice>,
    /// Whether no exec may bring privileges.
    pub no_new_privileges: bool,
    /// Whether the kernel's files stay uncovered.
    pub open_paths: bool,
    /// The only places that files are seen in; none: no limit.
    pub landlock: Vec<landlock::Rule>,
}

// ANCHOR: options
impl Options {
    /// All of them, in their order: a later one wins.
    ///
    /// # Errors
    /// One that there is not, or that this engine does not do.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a String>) -> Result<Options> {
        let mut options = Options::default();
        for text in texts {
            options.add(text)?;
        }
        Ok(options)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        let (name, value) = match text.find(['=', ':']) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        match (name, value) {
            ("seccomp", Some("unconfined")) => self.seccomp = Some(Choice::Unconfined),
            ("seccomp", Some("builtin")) => self.seccomp = Some(Choice::Builtin),
            ("seccomp", Some(path)) if !path.is_empty() => self.seccomp = Some(Choice::File(path.into())),
            ("no-new-privileges", None | Some("true")) => self.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => self.no_new_privileges = false,
            ("systempaths", Some("unconfined")) => self.open_paths = true,
            ("landlock", Some(rule)) => self.landlock.push(landlock::Rule::parse(rule)?),
            // There is none here that could be left out.
            ("apparmor", Some("unconfined")) | ("label", Some("disable")) => {}
            _ => return Err(Error::refused("--security-opt", text, why_not(name))),
        }
        Ok(())
    }
}
// ANCHOR_END: options

fn why_not(name: &str) -> &'static str {
    match name {
        "apparmor" => "this engine loads no AppArmor profiles; only `unconfined` is true of it",
        "label" => "this engine sets no SELinux labels; only `disable` is true of it",
        "seccomp" => "write it as seccomp=FILE, seccomp=builtin or seccomp=unconfined",
        "no-new-privileges" => "it is true or false",
        "systempaths" => "there is `unconfined` only",
        _ => "there are seccomp, no-new-privileges, systempaths and landlock",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_not_done_is_told() {
        let of = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Options::parse(texts.iter())
        };
        assert_eq!(of(&[]).unwrap(), Options::default());
        let all =
            of(&["no-new-privileges", "seccomp:unconfined", "systempaths=unconfined", "landlock=ro:/usr"]);
        let expected = Options {
            seccomp: Some(Choice::Unconfined),
            no_new_privileges: true,
            open_paths: true,
            landlock: vec![landlock::Rule { path: "/usr".into(), write: false }],
        };
        assert_eq!(all.unwrap(), expected);
        assert!(!of(&["no-new-privileges=true", "no-new-privileges:false"]).unwrap().no_new_privileges);
        assert_eq!(of(&["seccomp=a:b=c"]).unwrap().seccomp, Some(Choice::File("a:b=c".into())));
        of(&["apparmor=unconfined", "label=disable"]).unwrap();
        for (text, words) in [
            ("apparmor=docker-default", "AppArmor"),
            ("label=type:container_t", "SELinux"),
            ("seccomp", "FILE"),
            ("seccomp=", "FILE"),
            ("no-new-privileges=maybe", "true or false"),
            ("fly", "landlock"),
        ] {
            assert!(of(&[text]).unwrap_err().to_string().contains(words), "{text}");
        }
    }
}
