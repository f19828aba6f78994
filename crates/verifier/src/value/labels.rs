//! What the left side of an equation names: `x`, `f(x)`, a derivative, a combination.

use crate::{
    lex::Delim,
    number::Number,
    syntax::{Constant, Func, Node},
};

/// The name on the left of an equation, if the left side only names what is equal: `x`, `f(x)`, `AB`, `\angle ABC`.
pub(super) fn label(node: &Node) -> Option<String> {
    match node {
        Node::Var(v) => Some(v.clone()),
        Node::Mul(parts) => {
            // f^{-1}(x)
            if let [Node::Pow(p), Node::Var(_)] = &parts[..]
                && matches!(&**p, (Node::Var(f), Node::Neg(_)) if matches!(f.as_str(), "f" | "g" | "h"))
            {
                return Some("inverse()".into());
            }
            // \int_0^1 x\,dx and \lim_{x \to 0} f(x): what stands behind the sign of equality is the value.
            let sign = match &parts[0] {
                Node::Pow(p) => &p.0,
                first => first,
            };
            if let Node::Var(name) = sign
                && let "lim" | "int" | "iint" | "iiint" | "oint" = name.split('_').next().unwrap_or(name)
            {
                return Some(format!("{}()", name.split('_').next().unwrap_or(name)));
            }
            // (f \circ g)(x)
            if let [Node::Degree(f), Node::Var(g), Node::Var(_)] = &parts[..]
                && let Node::Var(f) = &**f
            {
                return Some(format!("{f}∘{g}()"));
            }
            let [Node::Var(head), rest @ ..] = &parts[..] else { return None };
            if matches!(head.as_str(), "angle" | "triangle" | "measuredangle" | "Delta" | "overarc") {
                return Some(head.clone());
            }
            // \nabla f, \det A, \dim V
            if matches!(head.as_str(), "nabla" | "det" | "dim" | "deg" | "rank")
                && matches!(rest, [Node::Var(_)])
            {
                return Some(head.clone());
            }
            let capital = |n: &Node| matches!(n, Node::Var(v) if v.len() <= 3 && v.starts_with(|c: char| c.is_ascii_uppercase()));
            // f(x), f(x, y)
            let argument = |n: &Node| {
                matches!(n, Node::Var(_) | Node::Num(_) | Node::Const(Constant::Pi))
                    || matches!(n, Node::Group { open: Delim::Paren, items, .. } if items.iter().all(|i| matches!(i, Node::Var(_) | Node::Num(_))))
            };
            let function = head.trim_end_matches('\'');
            let function = function.split('_').next().unwrap_or(function);
            if let [x] = rest
                && argument(x)
                && matches!(
                    function,
                    "f" | "g"
                        | "h"
                        | "p"
                        | "q"
                        | "F"
                        | "G"
                        | "H"
                        | "P"
                        | "Q"
                        | "R"
                        | "S"
                        | "T"
                        | "V"
                        | "A"
                        | "N"
                        | "u"
                        | "v"
                        | "y"
                        | "r"
                        | "s"
                        | "phi"
                        | "psi"
                        | "a"
                        | "b"
                        | "M"
                        | "L"
                        | "C"
                        | "D"
                )
                && !(matches!(x, Node::Num(_) | Node::Const(_))
                    && function.starts_with(|c: char| !matches!(c, 'f' | 'g' | 'h' | 'F' | 'G' | 'P' | 'p')))
            {
                return Some(format!("{head}()"));
            }
            (capital(&parts[0]) && rest.len() <= 3 && rest.iter().all(capital)).then(|| {
                parts
                    .iter()
                    .filter_map(|n| if let Node::Var(v) = n { Some(v.as_str()) } else { None })
                    .collect()
            })
        }
        Node::Div(p) => derivative(node).or_else(|| {
            // AB/CD: a ratio of segments
            let segment = |n: &Node| {
                matches!(n, Node::Mul(v) if v.len() == 2
                    && v.iter().all(|n| matches!(n, Node::Var(x) if x.starts_with(|c: char| c.is_ascii_uppercase()))))
            };
            (segment(&p.0) && segment(&p.1)).then(|| Some(format!("{}/{}", label(&p.0)?, label(&p.1)?)))?
        }),
        // \cos\theta, \tan A
        Node::Call(f @ (Func::Sin | Func::Cos | Func::Tan), v) => match &v[..] {
            [Node::Var(x)] => Some(format!("{f:?} {x}")),
            [angle] => label(angle).filter(|l| l == "angle").map(|l| format!("{f:?} {l}")),
            _ => None,
        },
        Node::Call(Func::Abs, v) => match &v[0] {
            Node::Mul(_) => label(&v[0]),
            _ => None,
        },
        // f^{-1}(x), and a name of more words
        Node::Noted(x, _) => label(x),
        _ => None,
    }
}

/// `m + n`, `100a + 10b + c`, `abc`, `m/n`: the unknowns of a question put together. Coordinates make an equation instead.
pub(super) fn combination(node: &Node) -> Option<String> {
    fn sorted(parts: Option<Vec<String>>) -> Option<Vec<String>> {
        let mut parts = parts?;
        parts.sort_unstable();
        Some(parts)
    }
    let unknown = |n: &Node| match n {
        Node::Var(v) if v.len() == 1 && !matches!(v.as_str(), "x" | "y" | "z" | "t" | "i") => Some(v.clone()),
        _ => None,
    };
    let product = |n: &Node| match n {
        Node::Mul(v) => {
            let factor = |n: &Node| match n {
                Node::Num(n) => n.is_plain_integer().then(|| n.value.to_string()),
                n => unknown(n),
            };
            sorted(v.iter().map(factor).collect()).map(|v| v.join("·"))
        }
        n => unknown(n),
    };
    let term = |n: &Node| match n {
        Node::Neg(x) => product(x).map(|name| format!("-{name}")),
        n => product(n),
    };
    let name = match node {
        Node::Add(v) => sorted(v.iter().map(term).collect())?.join("+"),
        Node::Mul(_) => product(node)?,
        Node::Div(p) => format!("{}/{}", unknown(&p.0)?, unknown(&p.1)?),
        _ => return None,
    };
    (node.variables().len() > 1).then_some(name)
}

/// `dy/dx`, `∂z/∂x`, `d²y/dx²` as a name.
fn derivative(node: &Node) -> Option<String> {
    let Node::Div(p) = node else { return None };
    // d y or d^2 y: the sign, the order and the name
    let upper = |n: &Node| match n {
        Node::Mul(v) => match &v[..] {
            [Node::Var(d), Node::Var(y)] => Some((d.clone(), 1, y.clone())),
            [Node::Pow(p), Node::Var(y)] => match &**p {
                (Node::Var(d), Node::Num(n)) => Some((d.clone(), n.to_i64()?, y.clone())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let lower = |n: &Node| match n {
        Node::Mul(v) => match &v[..] {
            [Node::Var(d), Node::Var(x)] => Some((d.clone(), 1, x.clone())),
            [Node::Var(d), Node::Pow(p)] => match &**p {
                (Node::Var(x), Node::Num(n)) => Some((d.clone(), n.to_i64()?, x.clone())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let ((d, order, y), (e, times, x)) = (upper(&p.0)?, lower(&p.1)?);
    let fits = d == e && order == times && order > 0 && x != y && matches!(d.as_str(), "d" | "partial");
    // dy/dx and y' are one name.
    let primes = d == "d" && x == "x" && order <= 3;
    fits.then(|| match primes {
        true => format!("{y}{}()", "'".repeat(order as usize)),
        false => format!("{d}{order} {y}/{x}()"),
    })
}

/// The function and the number in `P(0)` or `d(16)`.
pub(super) fn at_number(node: &Node) -> Option<(&String, &Number)> {
    match node {
        Node::Mul(parts) => match &parts[..] {
            [Node::Var(f), Node::Num(at)] => Some((f, at)),
            _ => None,
        },
        _ => None,
    }
}

/// The variable of a function's label: `x` in `f(x)`.
pub(super) fn argument(label: &Node) -> Option<String> {
    let Node::Mul(parts) = label else { return None };
    match &parts[..] {
        [_, Node::Var(x)] | [Node::Degree(_), _, Node::Var(x)] => Some(x.clone()),
        _ => None,
    }
}

pub(super) fn constant_part(node: &Node) -> bool {
    node.variables().is_empty()
}
