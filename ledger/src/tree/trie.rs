//! The nodes above the buckets, in memory.
//!
//! Invariant: a node's summary is that of all leaves below it; a node without children is a bucket's place, and a bucket
//! without leaves has no row. A change is worked out first ([`Trie::update`]), made durable by whoever keeps the buckets, and
//! taken over then ([`Trie::adopt`]): a crash or a failed write between leaves the tree as it was.

use genesis::Digest;

use super::bucket::{BucketId, Buckets, MAX_DEPTH, MAX_LEAVES, merge};
use super::plan::{Plan, Source};
use super::{Change, Leaf, Summary, left_of};

/// The tree above its buckets. 37 bytes a node; about two nodes for eleven leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trie {
    /// Of each node, the root first, where its two children are, which are side by side: apart from what they hold, as the way down
    /// to a bucket is then a tenth of the memory.
    children: Vec<Index>,
    summaries: Vec<Summary>,
}

/// A node's place in the tree.
type Index = u32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) summary: Summary,
    /// The left child; the right one follows. 0, the root, is nobody's child: a bucket's place.
    children: Index,
}

/// A change of some keys, worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The root that it changes.
    base: Digest,
    /// The root that it leads to.
    root: Digest,
    nodes: Vec<(Index, Node)>,
    rows: Vec<Row>,
}

/// What becomes of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub id: BucketId,
    /// Its leaves before.
    pub before: Vec<Leaf>,
    /// Its leaves after: none where all are gone, or went to its halves.
    pub after: Vec<Leaf>,
}

/// What an update replaced: enough to look at the tree before it.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The root before it.
    pub root: Digest,
    /// In ascending order.
    pub(super) nodes: Vec<(Index, Node)>,
    /// In ascending order.
    pub(super) rows: Vec<(BucketId, Vec<Leaf>)>,
}

impl Replaced {
    /// What it occupies in memory, in bytes, about.
    pub fn bytes(&self) -> usize {
        let leaves: usize = self.rows.iter().map(|(_, leaves)| leaves.len()).sum();
        size_of_val(self.nodes.as_slice()) + size_of_val(self.rows.as_slice()) + leaves * size_of::<Leaf>()
    }
}

impl Update {
    /// The root that it changes.
    pub const fn base(&self) -> Digest {
        self.base
    }

    /// The root after it.
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// The buckets that it changes.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self { children: vec![0], summaries: vec![Summary::default()] }
    }
}

impl Trie {
    /// The root of the whole tree.
    pub fn root(&self) -> Digest {
        self.summaries[0].digest()
    }

    /// The bytes that it occupies.
    pub const fn memory_bytes(&self) -> usize {
        self.children.capacity() * size_of::<Index>() + self.summaries.capacity() * size_of::<Summary>()
    }

    pub(super) fn node(&self, index: Index) -> Node {
        let index = index as usize;
        Node { summary: self.summaries[index], children: self.children[index] }
    }

    fn push(&mut self, node: Node) {
        self.children.push(node.children);
        self.summaries.push(node.summary);
    }

    /// Works out what `changes`, in ascending order of their keys and each key once, make of the tree.
    ///
    /// # Errors
    /// When a bucket cannot be read.
    pub fn update<B: Buckets>(&self, buckets: &B, changes: &[Change]) -> Result<Update, B::Error> {
        let (left, right) = changes.split_at(left_of(changes, 0, |change| &change.0));
        let Part { summary, mut nodes, rows, .. } = match self.node(0).children() {
            Some(children) if left.len().min(right.len()) >= WORTH_A_THREAD => {
                let (ids, end) = ([BucketId::ROOT.left(), BucketId::ROOT.right()], self.children.len());
                let (left, right) = buckets.both(
                    || self.work_out(buckets, (children, ids[0]), left, end),
                    || self.work_out(buckets, (children + 1, ids[1]), right, LATER as usize),
                );
                Part::joined(children, left?, right?)
            }
            _ => self.work_out(buckets, (0, BucketId::ROOT), changes, self.children.len())?,
        };
        nodes.sort_unstable_by_key(|(index, _)| *index);
        Ok(Update { base: self.root(), root: summary.digest(), nodes, rows })
    }

    /// The part of an update that is below a place. New nodes get the places from `next` on.
    fn work_out<B: Buckets>(
        &self,
        buckets: &B,
        (index, id): (Index, BucketId),
        changes: &[Change],
        next: usize,
    ) -> Result<Part, B::Error> {
        if changes.is_empty() {
            let summary = self.summaries[index as usize];
            return Ok(Part { summary, nodes: Vec::new(), rows: Vec::new(), next });
        }
        let mut ids = Vec::with_capacity(changes.len());
        self.touched(index, id, changes, &mut ids);
        let read = buckets.read(&ids)?.into_iter();
        let rows = Vec::with_capacity(ids.len());
        let mut work = Work { trie: self, plan: Plan::new(), read, next, nodes: Vec::new(), rows };
        let source = work.visit(index, id, changes);
        let Work { plan, nodes, rows, next, .. } = work;
        let hashes = plan.run();
        let node = |(index, children, source)| (index, Node { summary: hashes.summary(source), children });
        let nodes = nodes.into_iter().map(node).collect();
        Ok(Part { summary: hashes.summary(source), nodes, rows, next })
    }

    /// Takes over an update, which is durable now.
    ///
    /// # Panics
    /// When it was worked out on another tree than this: then the disk holds what this memory does not.
    pub fn adopt(&mut self, update: &Update) -> Replaced {
        assert_eq!(update.base, self.root(), "an update is adopted by the tree that it was worked out on");
        let mut replaced = Vec::with_capacity(update.nodes.len());
        for (index, node) in &update.nodes {
            let place = *index as usize;
            if place < self.children.len() {
                replaced.push((*index, self.node(*index)));
                (self.summaries[place], self.children[place]) = (node.summary, node.children);
            } else {
                // New nodes come in their order, from the end on.
                self.push(*node);
            }
        }
        let mut rows: Vec<_> = update.rows.iter().map(|row| (row.id, row.before.clone())).collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        Replaced { root: update.base, nodes: replaced, rows }
    }

    /// The values of `keys`, which are in ascending order and each there once; none where a key is not there.
    ///
    /// # Errors
    /// When a bucket cannot be read.
    pub fn find<B: Buckets>(&self, buckets: &B, keys: &[Digest]) -> Result<Vec<Option<Digest>>, B::Error> {
        let wanted: Vec<Change> = keys.iter().map(|key| (*key, None)).collect();
        let mut ids = Vec::new();
        if !wanted.is_empty() {
            self.touched(0, BucketId::ROOT, &wanted, &mut ids);
        }
        let leaves = buckets.read(&ids)?.concat();
        let value = |key: &Digest| {
            let place = leaves.binary_search_by_key(key, |leaf| leaf.key).ok()?;
            Some(leaves[place].value)
        };
        Ok(keys.iter().map(value).collect())
    }

    fn touched(&self, index: Index, id: BucketId, changes: &[Change], ids: &mut Vec<BucketId>) {
        let children = self.children[index as usize];
        if children == 0 {
            return ids.push(id);
        }
        let (left, right) = changes.split_at(left_of(changes, id.depth().into(), |change| &change.0));
        if !left.is_empty() {
            self.touched(children, id.left(), left, ids);
        }
        if !right.is_empty() {
            self.touched(children + 1, id.right(), right, ids);
        }
    }

    /// Rebuilds the tree from the rows of its buckets, which come in any order, each once.
    ///
    /// # Errors
    /// Those of `rows`.
    pub fn load<E>(rows: impl Iterator<Item = Result<(BucketId, Vec<Leaf>), E>>) -> Result<Self, E> {
        /// How many rows are hashed at once.
        const ROWS: usize = 1_024;
        let mut trie = Self::default();
        let mut plan = Plan::new();
        let mut places = Vec::with_capacity(ROWS);
        for row in rows {
            let (id, leaves) = row?;
            places.push((trie.place(id), plan.subtree(&leaves, id.depth().into())));
            if places.len() == ROWS {
                trie.fill(std::mem::take(&mut plan), &mut places);
            }
        }
        trie.fill(plan, &mut places);
        trie.summarise();
        Ok(trie)
    }

    /// The tree of two others: of the keys that begin with a 0, and of those that begin with a 1.
    pub fn of_halves(mut left: Self, right: Self) -> Self {
        let offset = index_of(left.children.len());
        let (Some(place), Some(other)) = (left.node(0).children(), right.node(0).children()) else {
            // A bucket of all keys, or nothing: then that is all there is.
            return if left == Self::default() { right } else { left };
        };
        let moved = |node: Node| Node { children: node.children().map_or(0, |index| index + offset), ..node };
        let half = moved(right.node(other + 1));
        for index in 0..index_of(right.children.len()) {
            left.push(moved(right.node(index)));
        }
        let place_of_half = place as usize + 1;
        (left.summaries[place_of_half], left.children[place_of_half]) = (half.summary, half.children);
        let mut plan = Plan::new();
        let known = |summary| Source::Known(summary);
        let root = plan.join(0, known(left.node(place).summary), known(half.summary));
        left.fill(plan, &mut vec![(0, root)]);
        left
    }

    fn fill(&mut self, plan: Plan, places: &mut Vec<(Index, Source)>) {
        let hashes = plan.run();
        for (index, source) in places.drain(..) {
            self.summaries[index as usize] = hashes.summary(source);
        }
    }

    /// The place of a bucket, with the nodes above it.
    fn place(&mut self, id: BucketId) -> Index {
        let mut index = 0;
        for depth in 0..id.depth() {
            let mut children = self.children[index as usize];
            if children == 0 {
                children = index_of(self.children.len());
                self.children[index as usize] = children;
                self.push(Node::default());
                self.push(Node::default());
            }
            index = children + Index::from(id.is_right_at(depth));
        }
        index
    }

    /// Computes the summaries of all nodes that have children.
    fn summarise(&mut self) {
        let mut levels: Vec<Vec<Index>> = Vec::new();
        let mut level = vec![0];
        while !level.is_empty() {
            level.retain(|index| self.children[*index as usize] != 0);
            let below =
                level.iter().flat_map(|index| [0, 1].map(|side| self.children[*index as usize] + side));
            let below = below.collect();
            levels.push(std::mem::replace(&mut level, below));
        }
        for level in levels.iter().rev() {
            // Of one depth: none of them is above another.
            let mut plan = Plan::new();
            let join = |index: &Index| {
                let children = self.node(*index).children;
                let side = |side| Source::Known(self.node(children + side).summary);
                (*index, plan.join(0, side(0), side(1)))
            };
            let mut places = level.iter().map(join).collect();
            self.fill(plan, &mut places);
        }
    }
}

/// From this place on are the new nodes of the right half, while the left half's are worked out at the same time.
const LATER: Index = 1 << 31;
/// A half with fewer changes costs more to hand over than it takes.
const WORTH_A_THREAD: usize = 128;

/// An update, or what it changes below a place.
struct Part {
    summary: Summary,
    nodes: Vec<(Index, Node)>,
    rows: Vec<Row>,
    /// The place of the next new node.
    next: usize,
}

impl Part {
    /// The whole of two halves, whose roots are side by side at `children`.
    fn joined(children: Index, left: Self, right: Self) -> Self {
        let place = |index: Index| match index.checked_sub(LATER) {
            Some(new) => index_of(left.next + new as usize),
            None => index,
        };
        let placed =
            |(index, node): (Index, Node)| (place(index), Node { children: place(node.children), ..node });
        let mut plan = Plan::new();
        let root = plan.join(0, Source::Known(left.summary), Source::Known(right.summary));
        let summary = plan.run().summary(root);
        let (mut nodes, mut rows) = (left.nodes, left.rows);
        nodes.extend(right.nodes.into_iter().map(placed));
        nodes.push((0, Node { summary, children }));
        rows.extend(right.rows);
        Self { summary, nodes, rows, next: 0 }
    }
}

/// An update while it is worked out.
struct Work<'a> {
    trie: &'a Trie,
    plan: Plan,
    /// The buckets that are touched, in their order.
    read: std::vec::IntoIter<Vec<Leaf>>,
    /// The place of the next new node.
    next: usize,
    /// Place, children and content of every node that changes.
    nodes: Vec<(Index, Index, Source)>,
    rows: Vec<Row>,
}

impl Work<'_> {
    fn visit(&mut self, index: Index, id: BucketId, changes: &[Change]) -> Source {
        let children = self.trie.children[index as usize];
        if children == 0 {
            let before = self.read.next().unwrap_or_default();
            let after = merge(&before, changes);
            return self.put(index, id, before, after);
        }
        let (left, right) = changes.split_at(left_of(changes, id.depth().into(), |change| &change.0));
        let left = self.visit_child(children, id.left(), left);
        let right = self.visit_child(children + 1, id.right(), right);
        let source = self.plan.join(id.depth().into(), left, right);
        self.nodes.push((index, children, source));
        source
    }

    fn visit_child(&mut self, index: Index, id: BucketId, changes: &[Change]) -> Source {
        if changes.is_empty() {
            Source::Known(self.trie.summaries[index as usize])
        } else {
            self.visit(index, id, changes)
        }
    }

    /// Gives a place its leaves: as one bucket, or as many as it takes.
    fn put(&mut self, index: Index, id: BucketId, before: Vec<Leaf>, leaves: Vec<Leaf>) -> Source {
        let depth = usize::from(id.depth());
        if leaves.len() <= MAX_LEAVES || id.depth() == MAX_DEPTH {
            let source = self.plan.subtree(&leaves, depth);
            self.nodes.push((index, 0, source));
            if !(before.is_empty() && leaves.is_empty()) {
                self.rows.push(Row { id, before, after: leaves });
            }
            return source;
        }
        if !before.is_empty() {
            self.rows.push(Row { id, before, after: Vec::new() });
        }
        let children = index_of(self.next);
        self.next += 2;
        let mut left = leaves;
        let right = left.split_off(left_of(&left, depth, |leaf| &leaf.key));
        let left = self.put(children, id.left(), Vec::new(), left);
        let right = self.put(children + 1, id.right(), Vec::new(), right);
        let source = self.plan.join(depth, left, right);
        self.nodes.push((index, children, source));
        source
    }
}

impl Node {
    /// The left child; none for a bucket's place.
    pub(super) fn children(self) -> Option<Index> {
        (self.children != 0).then_some(self.children)
    }
}

fn index_of(place: usize) -> Index {
    match Index::try_from(place) {
        Ok(index) => index,
        Err(_) => unreachable!("2^32 nodes stand above 20 thousand million leaves, and take 170 GB"),
    }
}
