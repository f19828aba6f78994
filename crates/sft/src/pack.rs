//! Packing: several examples in a row.

use std::collections::BTreeMap;

use crate::{Error, Piece, Row};

/// Best-fit decreasing: the longest piece first, each into the fullest row that still has room. Ties keep the order
/// in which pieces and rows came, so the result depends on nothing else.
pub(crate) fn best_fit(pieces: Vec<Piece>, capacity: usize) -> Result<Vec<Row>, Error> {
    let mut pieces = pieces;
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.fed()));
    let mut rows: Vec<Row> = Vec::new();
    // Rows by room left; the earliest row of each room is used first.
    let mut by_room: BTreeMap<usize, std::collections::VecDeque<usize>> = BTreeMap::new();
    for piece in pieces {
        let length = piece.fed();
        if length > capacity {
            return Err(Error::TooLong { index: piece.example, length: length + 1, limit: capacity + 1 });
        }
        let room = by_room.range(length..).next().map(|(room, _)| *room);
        let (row, left) = match room {
            Some(room) => {
                let waiting = by_room.entry(room).or_default();
                let row = waiting.pop_front().unwrap_or_default();
                if waiting.is_empty() {
                    by_room.remove(&room);
                }
                (row, room - length)
            }
            None => {
                rows.push(Vec::new());
                (rows.len() - 1, capacity - length)
            }
        };
        rows[row].push(piece);
        by_room.entry(left).or_default().push_back(row);
    }
    Ok(rows)
}

/// Cuts pieces that are longer than a row. The next part begins with the token that the last one predicted last.
pub(crate) fn split(pieces: Vec<Piece>, capacity: usize) -> Vec<Piece> {
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let mut start = piece.start;
        while start + 1 < piece.end {
            let end = piece.end.min(start + capacity + 1);
            parts.push(Piece { start, end, ..piece });
            start = end - 1;
        }
    }
    parts
}

/// All pieces end to end, cut every `capacity` tokens; only the last row may be shorter.
pub(crate) fn wrap(pieces: Vec<Piece>, capacity: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut room = 0;
    for piece in pieces {
        let mut start = piece.start;
        while start + 1 < piece.end {
            if room == 0 {
                rows.push(Vec::new());
                room = capacity;
            }
            let end = piece.end.min(start + room + 1);
            if let Some(row) = rows.last_mut() {
                row.push(Piece { start, end, ..piece });
            }
            room -= end - start - 1;
            start = end - 1;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(fed: &[usize]) -> Vec<Piece> {
        fed.iter().enumerate().map(|(example, fed)| Piece { example, start: 0, end: fed + 1 }).collect()
    }

    fn lengths(rows: &[Row]) -> Vec<Vec<usize>> {
        rows.iter().map(|row| row.iter().map(Piece::fed).collect()).collect()
    }

    #[test]
    fn best_fit_by_hand() {
        // 7 -> row 0 (room 3); 5 -> row 1 (room 5); 4 -> row 1 (room 1); 3 -> row 0 (room 0); 2 -> row 2; 1 -> row 1.
        let rows = best_fit(pieces(&[4, 7, 1, 5, 2, 3]), 10).unwrap();
        assert_eq!(lengths(&rows), [vec![7, 3], vec![5, 4, 1], vec![2]]);
        assert!(matches!(best_fit(pieces(&[11]), 10), Err(Error::TooLong { length: 12, limit: 11, .. })));
    }

    #[test]
    fn wrapped_rows_are_full() {
        let rows = wrap(pieces(&[4, 7, 1, 5]), 6);
        assert_eq!(lengths(&rows), [vec![4, 2], vec![5, 1], vec![5]]);
        assert_eq!((rows[0][1].start, rows[0][1].end, rows[1][0].start), (0, 3, 2));
    }
}
