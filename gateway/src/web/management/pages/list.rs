//! Long lists: what is looked for, a page of them at a time.

use super::api::encoded;
use crate::web::form::Form;

/// As many stand on one page.
const PAGE: usize = 50;

/// What is looked for is cut off here.
const LONGEST: usize = 100;

/// What the operator looks at.
pub(super) struct Wanted {
    pub(super) text: String,
    page: usize,
}

/// A part of a list.
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    /// So many there are of what is looked for.
    pub(super) found: usize,
    pub(super) wanted: String,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Wanted {
    pub(super) fn of(query: &Form) -> Self {
        Self {
            text: query.get("q").trim().chars().take(LONGEST).collect(),
            page: query.get("page").parse().unwrap_or(1),
        }
    }

    /// The part of a list that is wanted. `words` are what an item is found by.
    pub(super) fn of_all<T>(
        self,
        all: Vec<T>,
        at: &str,
        words: impl Fn(&T) -> Vec<&str>,
    ) -> Part<T> {
        let sought = self.text.to_lowercase();
        let is_sought = |item: &T| {
            let mut words = words(item).into_iter();
            sought.is_empty() || words.any(|word| word.to_lowercase().contains(&sought))
        };
        let mut items: Vec<T> = all.into_iter().filter(is_sought).collect();
        let found = items.len();
        let pages = found.div_ceil(PAGE).max(1);
        let page = self.page.clamp(1, pages);
        items.truncate(page * PAGE);
        items.drain(..(page - 1) * PAGE);
        let url = |page: usize| format!("{at}?q={}&page={page}", encoded(&self.text));
        Part {
            items,
            found,
            page,
            pages,
            before: (page > 1).then(|| url(page - 1)),
            after: (page < pages).then(|| url(page + 1)),
            wanted: self.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(all: usize, query: &str) -> Part<String> {
        let all = (1..=all).map(|n| format!("Item {n}")).collect();
        let wanted = Wanted::of(&Form::read(query.as_bytes()));
        wanted.of_all(all, "/list", |item: &String| vec![item])
    }

    #[test]
    fn a_list_is_cut_into_pages_and_searched() {
        let first = part(120, "");
        assert_eq!((first.items.len(), first.page, first.pages), (50, 1, 3));
        assert_eq!(
            (first.before, &*first.after.unwrap()),
            (None, "/list?q=&page=2")
        );
        let last = part(120, "page=99");
        assert_eq!((last.items.len(), last.page), (20, 3));
        assert!(last.after.is_none() && last.before.is_some());
        let found = part(120, "q=ITEM+11&page=0");
        assert_eq!((found.found, &*found.items[0]), (11, "Item 11"));
        let none = part(0, "q=%26x&page=-1");
        assert_eq!((none.items.len(), none.pages, &*none.wanted), (0, 1, "&x"));
    }
}
