//! A store with small handles: values live in pages, a handle is a number of 32 bits.
//!
//! Pages instead of one vector, because a vector that doubles copies everything at the moment of the
//! greatest load and stands half empty afterwards.

use std::ops::{Index, IndexMut};

/// Values per page.
const PAGE_LEN: usize = 1024;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    /// Counts the tenants of this slot, so that a handle kept by somebody outside is known to be stale.
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab { pages: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            self.slot_mut(index).value = Some(value);
            return index;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE_LEN) {
            self.pages.push(Vec::with_capacity(PAGE_LEN));
        }
        let pages = self.pages.len();
        let page = self.pages.last_mut().expect("a page was pushed if there was none");
        page.push(Slot { generation: 0, value: Some(value) });
        u32::try_from((pages - 1) * PAGE_LEN + page.len() - 1).expect("memory ends before 4 billion values")
    }

    pub(crate) fn remove(&mut self, index: u32) -> T {
        let slot = self.slot_mut(index);
        let value = slot.value.take().expect("a handle inside the planner is live");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        value
    }

    /// The generation that goes with a live handle.
    pub(crate) fn generation(&self, index: u32) -> u32 {
        self.slot(index).generation
    }

    /// Whether a handle from outside still means the value it was made for.
    pub(crate) fn is_live(&self, index: u32, generation: u32) -> bool {
        let at = index as usize;
        let slot = self.pages.get(at / PAGE_LEN).and_then(|page| page.get(at % PAGE_LEN));
        slot.is_some_and(|slot| slot.generation == generation && slot.value.is_some())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.pages.iter().flatten().enumerate();
        slots.filter_map(|(index, slot)| slot.value.as_ref().map(|value| (index as u32, value)))
    }

    fn slot(&self, index: u32) -> &Slot<T> {
        &self.pages[index as usize / PAGE_LEN][index as usize % PAGE_LEN]
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot<T> {
        &mut self.pages[index as usize / PAGE_LEN][index as usize % PAGE_LEN]
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.slot(index).value.as_ref().expect("a handle inside the planner is live")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.slot_mut(index).value.as_mut().expect("a handle inside the planner is live")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_handle() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        let generation = slab.generation(first);
        assert!(slab.is_live(first, generation));
        assert_eq!(slab.remove(first), "first");
        assert!(!slab.is_live(first, generation));
        let second = slab.insert("second");
        assert_eq!(second, first);
        assert!(!slab.is_live(first, generation));
        assert!(slab.is_live(second, slab.generation(second)));
        assert!(!slab.is_live(99_999, 0));
    }

    #[test]
    fn values_keep_their_handles_over_many_pages() {
        let mut slab = Slab::new();
        let handles: Vec<u32> = (0..3000).map(|n| slab.insert(n)).collect();
        for (n, handle) in handles.iter().enumerate() {
            assert_eq!(slab[*handle], n);
        }
        slab.remove(handles[1500]);
        assert_eq!(slab.len(), 2999);
        assert_eq!(slab.iter().count(), 2999);
    }
}
