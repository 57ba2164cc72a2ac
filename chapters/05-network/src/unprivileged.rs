//! The network of who has no right on the host's: a namespace of its own, and a helper that carries the packets.

use std::fs;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use process::{Birth, Child, Context, Isolation, Result};

use crate::Published;
use crate::files::{self, ResolvConf};
use crate::identity::{Identity, Texts};
use crate::port;
use crate::rootless::{Helper, Tool};

/// A container that pasta or slirp4netns connects.
pub struct Unprivileged {
    tool: Tool,
    ports: Vec<port::Wish>,
    identity: Option<Identity>,
    folder: PathBuf,
    /// From `prepare` on.
    texts: Option<Texts>,
    /// What the helper is to publish.
    published: Vec<Published>,
    /// From `outside` on; it ends with this.
    helper: Option<Helper>,
}

impl Unprivileged {
    /// A wish to be connected by `tool`, with these published ports. `folder` is this container's own, for the
    /// helper's words and its socket; `identity` as for [`crate::member::Member`].
    pub fn new(
        tool: Tool,
        ports: Vec<port::Wish>,
        identity: Option<Identity>,
        folder: PathBuf,
    ) -> Unprivileged {
        Unprivileged { tool, ports, identity, folder, texts: None, published: Vec::new(), helper: None }
    }
}

impl Isolation for Unprivileged {
    fn name(&self) -> &'static str {
        "network"
    }

    // ANCHOR: unprivileged
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        birth.in_new(CloneFlags::CLONE_NEWNET);
        // Looked for, and let go at once: the helper binds them itself, and the child would inherit what we hold.
        self.published = port::reserve(&self.ports)?.iter().map(|reserved| reserved.port).collect();
        if let Some(identity) = &self.identity {
            let server = ResolvConf { servers: vec![self.tool.name_server()], ..ResolvConf::of_host() };
            self.texts = Some(identity.texts(&[], None, &server.with(&identity.dns))?);
        }
        fs::create_dir_all(&self.folder).during("create", self.folder.display())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        self.helper = Some(Helper::start(self.tool, child.pid(), &self.published, &self.folder)?);
        Ok(())
    }

    fn inside(&mut self) -> Result<()> {
        self.texts.as_deref().map_or(Ok(()), files::lay)
    }
    // ANCHOR_END: unprivileged
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        self.helper = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}
