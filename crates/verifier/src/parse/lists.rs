//! Bare lists: items between commas, semicolons, "and", "or".

use super::{Parsed, Parser};
use crate::{
    lex::{Delim, Tok},
    syntax::{Func, Node, Relation, SetOp},
    units::Unit,
};

impl Parser<'_> {
    /// A bare list: items between commas, semicolons, "and", "or".
    #[inline(never)]
    pub(super) fn list(&mut self) -> Parsed {
        let mut items = Vec::new();
        let (mut or, mut and, mut comma) = (false, false, false);
        loop {
            while let Some(tok @ (Tok::Comma | Tok::Semicolon | Tok::NewRow | Tok::And | Tok::Or)) =
                self.peek()
            {
                or |= *tok == Tok::Or;
                and |= *tok == Tok::And;
                comma |= !matches!(tok, Tok::And | Tok::Or);
                self.pos += 1;
            }
            let reversed = self.nested == 0 && self.peek() == Some(&Tok::Close(Delim::Bracket)); // ]1, 2[
            if self.at_end() && !reversed {
                break;
            }
            if !items.is_empty() && self.remark_starts() {
                self.skip_remark();
                break;
            }
            let item = self.item()?;
            items.push(item);
            if self.remark_starts() && self.nested == 0 {
                self.skip_remark();
                break;
            }
            if !matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::NewRow | Tok::And | Tok::Or)) {
                break;
            }
        }
        match items.len() {
            0 => Err(self.expected("an answer")),
            1 => Ok(items.remove(0)),
            // n ≡ 1, 5 (mod 6)
            _ if residues(&mut items) => Ok(if or { Node::Or(items) } else { Node::List(items) }),
            // 2 hours and 30 minutes
            _ if !or && mixed_quantity(&items) => Ok(Node::Add(items)),
            // x > 1 and x < 3: both hold.
            _ if and && !or && !comma && bounds_of_one_name(&items) => {
                Ok(Node::Set(SetOp::Intersection, items))
            }
            _ if or => Ok(Node::Or(items)),
            _ => Ok(Node::List(items)),
        }
    }

    /// One item of a list, with a label before it and a remark after it.
    #[inline(never)]
    pub(super) fn item(&mut self) -> Parsed {
        if let Some(node) = self.label()? {
            return Ok(node);
        }
        let node = self.expr(0)?;
        self.remark(node)
    }
}

/// Gives every residue of a list `n ≡ a, b (mod m)` its name and the modulus that stands once; says whether it was one.
fn residues(items: &mut [Node]) -> bool {
    let [Node::Rel(terms, ops), rest @ .., Node::Call(Func::Mod, last)] = &*items else { return false };
    let ([Node::Var(name), first], [Relation::Congruent], [residue, modulus]) =
        (&terms[..], &ops[..], &last[..])
    else {
        return false;
    };
    let plain = |n: &Node| !matches!(n, Node::Rel(..) | Node::Call(Func::Mod, _) | Node::Dots);
    if !plain(first) || !rest.iter().all(plain) || modulus.size_within(64).is_none() {
        return false;
    }
    let (name, modulus) = (name.clone(), modulus.clone());
    let all: Vec<Node> = [first].into_iter().chain(rest).chain([residue]).cloned().collect();
    for (item, residue) in items.iter_mut().zip(all) {
        let class = Node::Call(Func::Mod, vec![residue, modulus.clone()]);
        *item = Node::Rel(vec![Node::Var(name.clone()), class], vec![Relation::Congruent]);
    }
    true
}

/// Order relations that all bound the same single variable.
fn bounds_of_one_name(items: &[Node]) -> bool {
    let name = |n: &Node| match n {
        Node::Rel(_, ops) if ops.iter().all(|o| o.is_order() || *o == Relation::Ne) => {
            let names = n.variables();
            if let [one] = &names[..] { Some(one.clone()) } else { None }
        }
        _ => None,
    };
    let first = items.first().and_then(name);
    first.is_some() && items.iter().all(|n| name(n) == first)
}

/// Quantities of one dimension in different units, as in "2 hours and 30 minutes".
fn mixed_quantity(items: &[Node]) -> bool {
    let mut seen: Vec<&Unit> = Vec::new();
    items.len() <= 4
        && items.iter().all(|n| match n {
            Node::Quantity(_, u, false) => {
                // 12 dollars and 50 cents
                let cents = u.factors == [("¢", 1)];
                let fits = (!u.is_currency() || seen.is_empty())
                    && (cents || !seen.first().is_some_and(|f| f.is_currency()))
                    && !seen.contains(&u)
                    && seen.first().is_none_or(|f| f.measure().0 == u.measure().0);
                seen.push(u);
                fits
            }
            _ => false,
        })
}
