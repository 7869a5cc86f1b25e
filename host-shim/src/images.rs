//! Which libraries this process has mapped, and which file may be loaded beside them.
//!
//! A library stays mapped until the process ends. The loader gives the **old** image for a path that it knows, whatever lies
//! there by then, and a file that is changed in place changes under the feet of the image. So a new version is a new
//! file under its own name. A version that served before and whose file is untouched is used again as it is mapped.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result, code};
use crate::limits::IMAGES_MAX;
use crate::load;
use crate::module::Module;

/// A mapped library.
pub struct Image {
    /// The module in it.
    pub module: Arc<Module>,
    file: Stamp,
}

impl Image {
    /// Its file, links resolved.
    pub fn path(&self) -> &Path {
        self.module.path()
    }
}

/// What tells a file from another, and from itself before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_ns: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path)
            .map_err(|error| Error::new(code::MODULE_MISSING, format!("`{}`: {error}", path.display())))?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            changed_ns: (meta.mtime(), meta.mtime_nsec()),
        })
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// What was found about a file that is to be loaded.
pub enum Found {
    /// It is mapped, and unchanged since.
    Known(Arc<Image>),
    /// It may be loaded; the real path.
    New(PathBuf),
}

/// Every library of this process.
#[derive(Default)]
pub struct Images(Vec<Arc<Image>>);

impl Images {
    /// Keeps a library that was just loaded.
    pub fn keep(&mut self, module: Module) -> Result<Arc<Image>> {
        let file = Stamp::of(module.path())?;
        let image = Arc::new(Image { module: Arc::new(module), file });
        self.0.push(Arc::clone(&image));
        Ok(image)
    }

    /// Every one's path, in the order of loading.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|image| image.path().to_owned()).collect()
    }

    /// Looks at a file that is to serve in place of `serving`. CB-0831 says why it cannot.
    pub fn find(&self, path: &Path, serving: &Image) -> Result<Found> {
        let path = load::real_file(path)?;
        let stamp = Stamp::of(&path)?;
        let refuse = |why: &str| {
            let remedy = "install a new version under its own name beside the old one, such as libchainbot_plugin-1.4.2.so";
            Err(Error::new(code::ALREADY_LOADED, format!("`{}` {why}; {remedy}", path.display())))
        };
        for image in &self.0 {
            let is_path = image.path() == path;
            if !is_path && !image.file.is_same_file(&stamp) {
                continue;
            }
            if !image.file.is_same_file(&stamp) {
                return refuse(
                    "is mapped with the content that it had before it was replaced, and the loader would \
                               give that one again",
                );
            }
            if image.file != stamp {
                return refuse("was changed in place while it is mapped");
            }
            if std::ptr::eq(Arc::as_ptr(image), serving) {
                return refuse("is the version that serves");
            }
            return Ok(Found::Known(Arc::clone(image)));
        }
        if self.0.len() >= IMAGES_MAX {
            let message =
                format!("this process has mapped {IMAGES_MAX} versions; restart the host with the new one");
            return Err(Error::new(code::UPGRADE_REFUSED, message));
        }
        Ok(Found::New(path))
    }
}
