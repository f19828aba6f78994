//! The order of nested subsets: farthest first.

use std::collections::BTreeSet;

use crate::approach::Approach;
use crate::error::Result;
use crate::family::Family;

impl Family {
    /// Orders the approaches so that every prefix is as different as possible.
    ///
    /// The distance of two approaches is the number of labels that differ among their phase and their facets (compared by
    /// position; the mathematics family uses direction, medium, move and scope). Starting from `core[0]`, the next is
    /// always the approach whose nearest already chosen neighbour is farthest; ties go to the larger sum of distances,
    /// then to the smaller id. All of `core` is placed before the others: this is where usefulness on any problem
    /// outweighs difference. With an empty `core` the order starts from the smallest id.
    ///
    /// # Errors
    /// [`Error::UnknownApproach`](crate::Error::UnknownApproach) for an id in `core`.
    pub fn farthest_first(&self, core: &[&str]) -> Result<Vec<&str>> {
        let core: Vec<&Approach> = core.iter().map(|id| self.get(id)).collect::<Result<_>>()?;
        let by_id = |a: &&Approach| a.id.clone();
        let mut rest: Vec<&Approach> = self.approaches().iter().collect();
        rest.sort_by_key(by_id);
        let mut chosen: Vec<&Approach> = Vec::new();
        chosen.extend(core.first().or(rest.first()));
        let mut pending: Vec<&Approach> = core.clone();
        pending.sort_by_key(by_id);
        for pool in [pending, rest] {
            loop {
                let taken: BTreeSet<&str> = chosen.iter().map(|a| a.id.as_str()).collect();
                let mut best: Option<((usize, usize), &Approach)> = None;
                for a in pool.iter().filter(|a| !taken.contains(a.id.as_str())) {
                    let distances = chosen.iter().map(|c| distance(a, c));
                    let score = (distances.clone().min().unwrap_or(0), distances.sum());
                    // Strictly greater: among equals the first, that is the smaller id, stays.
                    if best.is_none_or(|(s, _)| score > s) {
                        best = Some((score, a));
                    }
                }
                let Some((_, next)) = best else { break };
                chosen.push(next);
            }
        }
        Ok(chosen.into_iter().map(|a| a.id.as_str()).collect())
    }
}

fn distance(a: &Approach, b: &Approach) -> usize {
    let facets = a.facets.len().max(b.facets.len());
    usize::from(a.phase != b.phase) + (0..facets).filter(|&i| a.facets.get(i) != b.facets.get(i)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn farthest_first_by_hand() {
        let f = Family::from_toml_str(
            "id='f'\nname='F'\n\
             [[approach]]\nid='a'\nname='A'\nfacets=['1','1']\n\
             [[approach]]\nid='b'\nname='B'\nfacets=['1','2']\n\
             [[approach]]\nid='c'\nname='C'\nfacets=['2','2']\n\
             [[approach]]\nid='d'\nname='D'\nfacets=['2','1']\n",
        )
        .unwrap();
        // From a: c differs in two labels; then b and d are both one away, and the smaller id comes first.
        assert_eq!(f.farthest_first(&[]).unwrap(), ["a", "c", "b", "d"]);
        assert_eq!(f.farthest_first(&["d"]).unwrap(), ["d", "b", "a", "c"]);
        assert_eq!(f.farthest_first(&["a", "b"]).unwrap(), ["a", "b", "c", "d"]);
        assert!(f.farthest_first(&["z"]).is_err());
    }
}
