//! Layers on disk: each is unpacked once, and shared by all chains and containers that have it.
//!
//! ```text
//! STATE/layers/<chain id>/tree     what lies in the layer: a lower folder of overlay
//!                         layer    what it is, `key value` lines: its diff id, its parent's chain id
//!             /.tmp-<random>       one that is being made, or removed
//! ```
//!
//! Invariants: a folder is called by a chain id only when all of it is on the disk; so a layer is whole or absent,
//! whenever its maker is killed. Whoever makes one holds a lock on it: a `.tmp-` folder that nobody has locked is
//! rubbish. The lock on `layers` is held while names come and go, and while somebody begins to use one.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::syncfs;
use process::{Context, Error, Result};

use crate::container;
use crate::digest::{self, Digest, Digesting};
use crate::node::LeftOut;
use crate::tree;
use crate::unpack::{Target, unpack};

/// Begins the name of what is being made or removed.
pub(crate) const DRAFT: &str = ".tmp-";

/// All layers of a state directory.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

/// A layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Its name: this, on that.
    pub chain: Digest,
    /// The digest of its tar.
    pub diff: Digest,
    /// The chain id of the layer below it.
    pub parent: Option<Digest>,
}

/// A layer that is being made; its folder is locked.
struct Draft {
    folder: PathBuf,
    lock: Flock<File>,
}

impl Store {
    /// The store in a state directory; made where there is none.
    ///
    /// # Errors
    /// EACCES, EROFS: the state directory is not ours.
    pub fn open(state: &Path) -> Result<Store> {
        // Programs of images may be set-user-id root: nobody else may come near them.
        folder_in(state, "layers", 0o700).map(Store)
    }

    /// Holds all names as they are, until dropped.
    ///
    /// # Errors
    /// EACCES: the store is not ours.
    pub fn lock(&self) -> Result<Flock<File>> {
        lock(&self.0, FlockArg::LockExclusive)
    }

    /// The tree of a layer.
    pub fn tree(&self, chain: Digest) -> PathBuf {
        self.0.join(chain.hex()).join("tree")
    }

    // ANCHOR: import
    /// Unpacks a layer's tar, gzipped or not, on top of `parent`. `expected` is the diff id that was promised.
    ///
    /// # Errors
    /// It is not what was promised, or no acceptable layer; the store is as it was then.
    pub fn import(
        &self,
        tar: impl Read,
        parent: Option<Digest>,
        expected: Option<Digest>,
    ) -> Result<(Layer, LeftOut)> {
        parent.map_or(Ok(()), |parent| self.load(parent).map(drop))?;
        self.sweep()?;
        let draft = self.draft()?;
        let made = self.fill(&draft, tar, parent, expected).and_then(|(layer, left_out)| {
            self.publish(&draft, &layer)?;
            Ok((layer, left_out))
        });
        // Whatever has not become a layer, be it that somebody else was faster.
        self.discard(&draft.folder)?;
        made
    }
    // ANCHOR_END: import

    // ANCHOR: publish
    /// Makes a layer in a draft, down to the disk.
    fn fill(
        &self,
        draft: &Draft,
        tar: impl Read,
        parent: Option<Digest>,
        expected: Option<Digest>,
    ) -> Result<(Layer, LeftOut)> {
        let tree = draft.folder.join("tree");
        make_folder(&tree, 0o755)?;
        let mut tar = Digesting::new(uncompressed(tar)?);
        let left_out =
            unpack(&mut tar, File::open(&tree).during("open", tree.display())?.as_fd(), Target::Layer)?;
        let diff = tar.digest();
        if expected.is_some_and(|expected| expected != diff) {
            return Err(Error::refused("import", diff, "its content is not what its digest promises"));
        }
        let layer = Layer { chain: digest::chain(parent, diff), diff, parent };
        let file = draft.folder.join("layer");
        fs::write(&file, layer.text()).during("write", file.display())?;
        // All its files at once: one call for each would cost more than unpacking them.
        syncfs(&*draft.lock).during("syncfs", draft.folder.display())?;
        Ok((layer, left_out))
    }

    /// Gives it its name; from now on it is there.
    fn publish(&self, draft: &Draft, layer: &Layer) -> Result<()> {
        let lock = self.lock()?;
        // It may have been removed meanwhile.
        layer.parent.map_or(Ok(()), |parent| self.load(parent).map(drop))?;
        let place = self.0.join(layer.chain.hex());
        match fs::rename(&draft.folder, &place) {
            Err(error)
                if [ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists].contains(&error.kind()) =>
            {
                self.load(layer.chain)?;
            }
            done => done.during("rename", place.display())?,
        }
        lock.sync_all().during("fsync", self.0.display())
    }
    // ANCHOR_END: publish

    fn draft(&self) -> Result<Draft> {
        let _lock = self.lock()?;
        let folder = self.0.join(tree::fresh_name(DRAFT)?);
        fs::create_dir(&folder).during("create", folder.display())?;
        let lock = lock(&folder, FlockArg::LockExclusiveNonblock)?;
        Ok(Draft { folder, lock })
    }

    /// Removes a draft, if it is there.
    fn discard(&self, folder: &Path) -> Result<()> {
        let store = File::open(&self.0).during("open", self.0.display())?;
        tree::remove(store.as_fd(), folder.file_name().unwrap_or(OsStr::new("")))
    }

    // ANCHOR: sweep
    /// Removes drafts whose makers are gone.
    ///
    /// # Errors
    /// EACCES: the store is not ours.
    pub fn sweep(&self) -> Result<()> {
        let mut left = Vec::new();
        let turn = self.lock()?;
        for name in self.names()?.iter().filter(|name| name.starts_with(DRAFT)) {
            // Held until it is removed. One that is locked has a maker; one that is gone was removed.
            let folder = self.0.join(name);
            left.extend(lock(&folder, FlockArg::LockExclusiveNonblock).ok().map(|lock| (folder, lock)));
        }
        drop(turn);
        left.iter().try_for_each(|(folder, _)| self.discard(folder))
    }
    // ANCHOR_END: sweep

    fn names(&self) -> Result<Vec<String>> {
        let store = File::open(&self.0).during("open", self.0.display())?;
        let names = tree::names(store.as_fd()).during("read", self.0.display())?;
        Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// All layers, by chain id; what is known of each, if it is not damaged.
    ///
    /// # Errors
    /// EACCES: the store is not ours.
    pub fn list(&self) -> Result<Vec<(Digest, Option<Layer>)>> {
        let chains = self.names()?.into_iter().filter_map(|name| name.parse().ok());
        Ok(chains.map(|chain| (chain, self.load(chain).ok())).collect())
    }

    /// What is known of a layer. Its name is the digest of what it is and stands on: so a damaged record is noticed, and
    /// no layer can stand on itself.
    ///
    /// # Errors
    /// There is no such layer, or its record is damaged.
    pub fn load(&self, chain: Digest) -> Result<Layer> {
        let file = self.0.join(chain.hex()).join("layer");
        let text = fs::read_to_string(&file).during("read", file.display());
        let text = text.map_err(|error| error.because("`layer ls` shows those that there are"))?;
        let value =
            |key| text.lines().find_map(|line| line.split_once(' ').filter(|(found, _)| *found == key));
        let layer = value("diff").and_then(|(_, diff)| {
            let parent = value("parent").map(|(_, parent)| parent.parse()).transpose().ok()?;
            Some(Layer { chain, diff: diff.parse().ok()?, parent })
        });
        let right = layer.filter(|layer| digest::chain(layer.parent, layer.diff) == chain);
        let cause = "it does not say what the layer's name promises: damaged; `layer rm` removes the layer";
        right.ok_or_else(|| Error::refused("read", file.display(), cause))
    }

    /// The layer that a digest, or at least its first twelve digits, name; none if there is none.
    ///
    /// # Errors
    /// Several begin like that.
    pub fn find(&self, text: &str) -> Result<Option<Digest>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() < 12 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut found: Vec<Digest> = self
            .names()?
            .iter()
            .filter(|name| name.starts_with(hex))
            .filter_map(|name| name.parse().ok())
            .collect();
        match (found.pop(), found.is_empty()) {
            (found, true) => Ok(found),
            _ => Err(Error::refused("find the layer", text, "several begin like that")),
        }
    }

    /// The trees of a layer and of all below it, the lowest first.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn chain(&self, top: Digest) -> Result<Vec<PathBuf>> {
        let (mut trees, mut next) = (Vec::new(), Some(top));
        while let Some(chain) = next {
            trees.push(self.tree(chain));
            next = self.load(chain)?.parent;
        }
        trees.reverse();
        Ok(trees)
    }

    /// The top of a chain of trees, if it is one of this store.
    pub fn top_of(&self, trees: &[PathBuf]) -> Option<Digest> {
        let top: Digest = trees.last()?.parent()?.file_name()?.to_str()?.parse().ok()?;
        (self.chain(top).ok()? == trees).then_some(top)
    }

    /// Removes a layer that nobody stands on.
    ///
    /// # Errors
    /// There is no such layer, or another layer or a container of `state` uses it.
    pub fn remove(&self, state: &Path, chain: Digest) -> Result<()> {
        let turn = self.lock()?;
        let refuse = |cause: String| Err(Error::refused("remove the layer", chain, cause));
        let layers = self.list()?;
        let mut above = layers.iter().filter_map(|(_, layer)| *layer);
        if let Some(above) = above.find(|layer| layer.parent == Some(chain)) {
            return refuse(format!("{} stands on it", above.chain));
        }
        if let Some(user) = container::user_of(state, &self.tree(chain))? {
            return refuse(format!("the container {user} uses it"));
        }
        let gone = self.0.join(tree::fresh_name(DRAFT)?);
        fs::rename(self.0.join(chain.hex()), &gone).during("rename", gone.display())?;
        drop(turn);
        self.discard(&gone)
    }
}

impl Layer {
    /// As in its file.
    fn text(&self) -> String {
        let mut text = format!("diff {}\n", self.diff);
        if let Some(parent) = self.parent {
            let _ = writeln!(text, "parent {parent}");
        }
        text
    }
}

/// A folder of the state directory, made where there is none; its full path.
pub(crate) fn folder_in(state: &Path, name: &str, mode: u32) -> Result<PathBuf> {
    let folder = state.join(name);
    if !state.exists() {
        fs::create_dir_all(state.parent().unwrap_or(state)).during("create", state.display())?;
        make_folder(state, 0o755)?;
    }
    if !folder.exists() {
        make_folder(&folder, mode)?;
    }
    fs::canonicalize(&folder).during("open", folder.display())
}

/// Makes a folder with this mode, whatever our umask; one that is there is left.
pub(crate) fn make_folder(folder: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done
            .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(mode)))
            .during("create", folder.display()),
    }
}

/// Locks a folder.
pub(crate) fn lock(folder: &Path, how: FlockArg) -> Result<Flock<File>> {
    let file = File::open(folder).during("open", folder.display())?;
    Flock::lock(file, how).map_err(|(_, errno)| errno).during("lock", folder.display())
}

/// A tar without its compression, which its first bytes tell. The digest of what is inside is the layer's diff id; that
/// of the file itself names it in a registry, and is another one.
pub(crate) fn uncompressed<'a>(tar: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut tar = BufReader::with_capacity(1 << 16, tar);
    let mut start = Vec::new();
    (&mut tar).take(4).read_to_end(&mut start).during("read", "the layer")?;
    let whole = std::io::Cursor::new(start.clone()).chain(tar);
    match start[..] {
        // A gzip file may have several parts, one behind the other.
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, whole)))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            Err(Error::refused("read", "the layer", "it is compressed with zstd; this store reads gzip"))
        }
        _ => Ok(Box::new(whole)),
    }
}
