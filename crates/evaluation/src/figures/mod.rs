//! Figures and pages of reports: self-contained SVG and HTML, readable on light and dark screens.
//!
//! Each figure is a builder that ends in `to_svg()`; the text is a whole SVG document that can stand alone in a file
//! or inside a [`Page`]. Nothing refers to an outside resource, and no script is needed. All labels are escaped.
//!
//! | figure | for |
//! |---|---|
//! | [`LineChart`] | pass@k curves with interval bands, training curves, times against priors |
//! | [`BarChart`] | values per group with intervals and one dot per seed |
//! | [`ShareChart`] | how a whole divides: approaches before and after RL |
//! | [`IntervalChart`] | paired differences with every point shown |
//! | [`Sankey`] | which approach follows which |
//! | [`heat_map`] | co-occurrence and transition matrices |

mod bar;
mod line;
mod page;
mod sankey;
mod style;

pub use bar::{BarChart, IntervalChart, ShareChart};
pub use line::{LineChart, Mark, Point, Series};
pub use page::{Page, Table};
pub use sankey::{Sankey, heat_map};
pub use style::Scale;
