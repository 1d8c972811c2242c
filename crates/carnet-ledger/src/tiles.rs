//! Tiles and entry bundles (C2SP tlog-tiles), derived from the leaves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_small};
use crate::error::{IoContext, LedgerError};
use crate::merkle::{Frontier, Hash, leaf_hash, perfect_root};

/// Hashes, or entries, in a full tile.
pub(crate) const TILE_WIDTH: usize = 256;
/// How many files are written before they are synced together.
const UNSYNCED_MAX: usize = 256;

/// One file of the tree: a tile of some level, or an entry bundle, full or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TileName {
    /// The level; `None` for an entry bundle.
    pub(crate) level: Option<usize>,
    pub(crate) number: u64,
    pub(crate) width: usize,
}

impl TileName {
    /// The path under the log directory.
    pub(crate) fn path(&self) -> PathBuf {
        let level = self.level.map_or("entries".to_owned(), |level| level.to_string());
        let mut path = format!("tile/{level}/{}", number_path(self.number));
        if self.width < TILE_WIDTH {
            path += &format!(".p/{}", self.width);
        }
        PathBuf::from(path)
    }

    fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }
}

/// How many full subtrees of that level a tree of `size` has.
fn above(size: u64, level: usize) -> u64 {
    u32::try_from(8 * level).ok().and_then(|bits| size.checked_shr(bits)).unwrap_or(0)
}

/// A number in groups of three digits, all but the last led by `x`.
fn number_path(number: u64) -> String {
    let last = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    let mut out = last;
    while rest > 0 {
        out = format!("x{:03}/{out}", rest % 1000);
        rest /= 1000;
    }
    out
}

/// The right edge of the tree, as tiles keep it: per level the unfinished tile, and the unfinished
/// entry bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
}

impl Edge {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn frontier(&self) -> Frontier {
        Frontier::from_levels(&self.levels)
    }

    /// Appends a leaf and hands out every file that it completes.
    pub(crate) fn push<E>(
        &mut self,
        leaf: &[u8],
        mut full: impl FnMut(TileName, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bundle.extend_from_slice(&(leaf.len() as u16).to_be_bytes());
        self.bundle.extend_from_slice(leaf);
        let mut number = self.size / TILE_WIDTH as u64;
        self.size += 1;
        let mut up = Some(leaf_hash(leaf));
        let mut level = 0;
        while let Some(hash) = up.take() {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(tile) = self.levels.get_mut(level) else { break };
            tile.push(hash);
            if tile.len() < TILE_WIDTH {
                break;
            }
            let name = TileName { level: Some(level), number, width: TILE_WIDTH };
            full(name, tile.as_flattened())?;
            up = Some(perfect_root(tile));
            tile.clear();
            if level == 0 {
                full(TileName { level: None, ..name }, &self.bundle)?;
                self.bundle.clear();
            }
            level += 1;
            number /= TILE_WIDTH as u64;
        }
        Ok(())
    }

    /// Hands out the partial files that a checkpoint of this size needs.
    pub(crate) fn partials<E>(
        &self,
        mut show: impl FnMut(TileName, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (level, tile) in self.levels.iter().enumerate().filter(|(_, tile)| !tile.is_empty()) {
            let name = TileName {
                level: Some(level),
                number: above(self.size, level + 1),
                width: tile.len(),
            };
            show(name, tile.as_flattened())?;
            if level == 0 {
                show(TileName { level: None, ..name }, &self.bundle)?;
            }
        }
        Ok(())
    }

    /// Reads the edge of a tree of `size` back from its tiles; `None` when one is missing or has
    /// the wrong length. The hashes are only as good as the root they lead to.
    pub(crate) fn load(
        disk: &dyn Disk,
        dir: &Path,
        size: u64,
    ) -> Result<Option<Self>, LedgerError> {
        let mut out = Self { size, ..Self::default() };
        let mut level = 0;
        while above(size, level) > 0 {
            let width = (above(size, level) % TILE_WIDTH as u64) as usize;
            let number = above(size, level + 1);
            let name = TileName { level: Some(level), number, width };
            let Some(tile) = read_tile(disk, dir, name)? else { return Ok(None) };
            out.levels.push(tile);
            if level == 0 {
                let name = TileName { level: None, ..name };
                let hashes = out.levels.first().map(Vec::as_slice).unwrap_or_default();
                let Some(bundle) = read_bundle(disk, dir, name, hashes)? else { return Ok(None) };
                out.bundle = bundle;
            }
            level += 1;
        }
        Ok(Some(out))
    }
}

/// Reads a tile's first `width` hashes, from the partial file or from the full one.
pub(crate) fn read_tile(
    disk: &dyn Disk,
    dir: &Path,
    name: TileName,
) -> Result<Option<Vec<Hash>>, LedgerError> {
    if name.width == 0 {
        return Ok(Some(Vec::new()));
    }
    let Some(bytes) = read_either(disk, dir, name)? else { return Ok(None) };
    let hashes: Vec<Hash> = bytes.as_chunks::<32>().0.to_vec();
    let right = bytes.len() % 32 == 0 && hashes.len() >= name.width;
    Ok(right.then(|| hashes.into_iter().take(name.width).collect()))
}

/// Reads the first entries of a bundle, when they have these leaf hashes.
fn read_bundle(
    disk: &dyn Disk,
    dir: &Path,
    name: TileName,
    hashes: &[Hash],
) -> Result<Option<Vec<u8>>, LedgerError> {
    if name.width == 0 {
        return Ok(Some(Vec::new()));
    }
    let Some(bytes) = read_either(disk, dir, name)? else { return Ok(None) };
    let mut rest = bytes.as_slice();
    for hash in hashes {
        match next_entry(&mut rest) {
            Some(entry) if leaf_hash(entry) == *hash => {}
            _ => return Ok(None),
        }
    }
    let used = bytes.len() - rest.len();
    Ok(bytes.get(..used).map(<[u8]>::to_vec))
}

/// Takes one entry from a bundle.
pub(crate) fn next_entry<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = after;
    Some(entry)
}

/// The file itself, or the full one that replaced it.
pub(crate) fn read_either(
    disk: &dyn Disk,
    dir: &Path,
    name: TileName,
) -> Result<Option<Vec<u8>>, LedgerError> {
    let path = dir.join(name.path());
    if let Some(bytes) = read_small(disk, &path).at("read", &path)? {
        return Ok(Some(bytes));
    }
    let path = dir.join(name.full().path());
    read_small(disk, &path).at("read", &path)
}

/// Writes tile files so that all are durable, and none is ever seen half written.
pub(crate) struct TileWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    unsynced: Vec<(PathBuf, PathBuf, Arc<dyn DiskFile>)>,
    dirs: BTreeSet<PathBuf>,
}

impl<'a> TileWriter<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, dir: &'a Path) -> Self {
        Self { disk, dir, unsynced: Vec::new(), dirs: BTreeSet::new() }
    }

    pub(crate) fn write(&mut self, name: TileName, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.dir.join(name.path());
        if let Some(dir) = path.parent()
            && self.dirs.insert(dir.to_path_buf())
        {
            self.disk.make_dir(dir).at("make", dir)?;
        }
        let mut tmp = path.clone().into_os_string();
        tmp.push(".tmp");
        let tmp = PathBuf::from(tmp);
        let file = self.disk.create(&tmp).at("make", &tmp)?;
        file.write_at(bytes, 0).at("write", &tmp)?;
        self.unsynced.push((tmp, path, file));
        if self.unsynced.len() >= UNSYNCED_MAX { self.sync() } else { Ok(()) }
    }

    /// Makes everything written so far durable, and visible under its name.
    pub(crate) fn sync(&mut self) -> Result<(), LedgerError> {
        for (tmp, _, file) in &self.unsynced {
            file.sync().at("sync", tmp)?;
        }
        for (tmp, path, _) in self.unsynced.drain(..) {
            self.disk.rename(&tmp, &path).at("rename", &tmp)?;
        }
        for dir in std::mem::take(&mut self.dirs) {
            self.disk.sync_dir(&dir).at("sync", &dir)?;
        }
        Ok(())
    }

    /// Removes the partial files that a full one has replaced.
    pub(crate) fn drop_partials(&self, name: TileName) -> Result<(), LedgerError> {
        let mut dir = self.dir.join(name.full().path()).into_os_string();
        dir.push(".p");
        let dir = PathBuf::from(dir);
        self.disk.remove_dir(&dir).at("remove", &dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_paths_are_those_of_the_specification() {
        let name = |level, number, width| TileName { level, number, width }.path();
        assert_eq!(name(Some(0), 1_234_067, 256), Path::new("tile/0/x001/x234/067"));
        assert_eq!(name(Some(1), 5, 112), Path::new("tile/1/005.p/112"));
        assert_eq!(name(None, 273, 256), Path::new("tile/entries/273"));
    }

    #[test]
    fn the_edge_has_the_same_root_as_the_frontier_at_every_size() {
        let (mut edge, mut frontier) = (Edge::default(), Frontier::default());
        for i in 0..70_000_u64 {
            let leaf = i.to_be_bytes();
            edge.push(&leaf, |_, _| Ok::<_, ()>(())).unwrap();
            frontier.push(leaf_hash(&leaf));
            if i < 1_100 || i % 997 == 0 || (65_000..66_100).contains(&i) {
                assert_eq!(edge.frontier(), frontier, "size {}", i + 1);
            }
        }
    }
}
