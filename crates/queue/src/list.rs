//! Lists whose links lie inside the members, so that joining, leaving from the middle and moving to the
//! end are one step each and cost no memory of their own.

use crate::slab::Slab;

/// The handle that names nothing.
pub(crate) const NONE: u32 = u32::MAX;

/// A member's neighbours. A member is in at most one list at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    pub(crate) const UNLINKED: Links = Links { prev: NONE, next: NONE };
}

pub(crate) trait Linked {
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(crate) const EMPTY: List = List { head: NONE, tail: NONE };

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(crate) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn push_back<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        *slab[index].links_mut() = Links { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = index,
            tail => slab[tail].links_mut().next = index,
        }
        self.tail = index;
    }

    /// `index` must be a member of this list.
    pub(crate) fn remove<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        let Links { prev, next } = slab[index].links();
        match prev {
            NONE => self.head = next,
            prev => slab[prev].links_mut().next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => slab[next].links_mut().prev = prev,
        }
        *slab[index].links_mut() = Links::UNLINKED;
    }

    pub(crate) fn rotate<T: Linked>(&mut self, slab: &mut Slab<T>) {
        if let Some(front) = self.front() {
            self.remove(slab, front);
            self.push_back(slab, front);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Member(Links);

    impl Linked for Member {
        fn links(&self) -> Links {
            self.0
        }

        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn order(list: &List, slab: &Slab<Member>) -> Vec<u32> {
        let mut order = Vec::new();
        let mut at = list.head;
        while at != NONE {
            order.push(at);
            at = slab[at].0.next;
        }
        order
    }

    #[test]
    fn members_join_leave_and_move_to_the_end() {
        let mut slab = Slab::new();
        let mut list = List::EMPTY;
        for _ in 0..4 {
            let index = slab.insert(Member(Links::UNLINKED));
            list.push_back(&mut slab, index);
        }
        list.remove(&mut slab, 1);
        assert_eq!(order(&list, &slab), [0, 2, 3]);
        list.rotate(&mut slab);
        assert_eq!(order(&list, &slab), [2, 3, 0]);
        list.remove(&mut slab, 0);
        list.remove(&mut slab, 2);
        assert_eq!(order(&list, &slab), [3]);
        list.rotate(&mut slab);
        list.remove(&mut slab, 3);
        assert!(list.is_empty());
        assert_eq!(list.front(), None);
    }
}
