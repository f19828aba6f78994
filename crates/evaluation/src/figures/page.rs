//! A report page: headings, text, tables, figures and folded details in one HTML file.

use std::fmt::Write;

use super::style::{escape, style_sheet};

/// A table; columns whose cells are all numbers (or empty, or dashes) are set to the right.
///
/// ```
/// use evaluation::figures::Table;
/// let table = Table::new(["arm", "pass@1"]).row(["base", "0.15"]).row(["mid+RL", "0.65"]);
/// assert_eq!(table.to_text(), "arm     pass@1\nbase      0.15\nmid+RL    0.65\n");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Table {
    caption: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(header: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A line of explanation under the table.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// Adds a row.
    pub fn row(mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.push(cells);
        self
    }

    /// Adds a row in a loop.
    pub fn push(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn numeric(&self) -> Vec<bool> {
        let is_number = |cell: &str| {
            let first = cell.split([' ', '[', '(', '%', '±', '/']).next().unwrap_or("");
            matches!(cell, "" | "-" | "–" | "none") || first.replace(['−', ','], "").parse::<f64>().is_ok()
        };
        (0..self.header.len())
            .map(|column| {
                let mut cells = self.rows.iter().filter_map(|row| row.get(column));
                !self.rows.is_empty() && cells.all(|cell| is_number(cell))
            })
            .collect()
    }

    /// As plain text for a terminal, columns aligned.
    pub fn to_text(&self) -> String {
        let numeric = self.numeric();
        let width = |text: &str| text.chars().count();
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.chain(self.header.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            for (column, &wide) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let pad = " ".repeat(wide - width(cell));
                let gap = if column == 0 { "" } else { "  " };
                let _ = if numeric[column] {
                    write!(line, "{gap}{pad}{cell}")
                } else {
                    write!(line, "{gap}{cell}{pad}")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// As an HTML `<table>`.
    pub fn to_html(&self) -> String {
        let numeric = self.numeric();
        let class = |column: usize| if numeric.get(column) == Some(&true) { " class=\"n\"" } else { "" };
        let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
        for (column, head) in self.header.iter().enumerate() {
            let _ = write!(html, "<th{}>{}</th>", class(column), inline(head));
        }
        html.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(html, "<td{}>{}</td>", class(column), inline(cell));
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div>");
        if !self.caption.is_empty() {
            let _ = write!(html, "<p class=\"caption\">{}</p>", inline(&self.caption));
        }
        html
    }
}

/// Escapes, then sets `**strong**` and `` `code` ``.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 1 {
            let _ = write!(html, "<code>{}</code>", escape(part));
            continue;
        }
        for (j, piece) in part.split("**").enumerate() {
            let piece = escape(piece);
            let _ =
                if j % 2 == 1 { write!(html, "<strong>{piece}</strong>") } else { write!(html, "{piece}") };
        }
    }
    html
}

/// A self-contained HTML page, built from top to bottom.
///
/// Text given to it is escaped; `**strong**` and `` `code` `` are the only marks it knows.
///
/// ```
/// use evaluation::figures::{Page, Table};
/// let mut page = Page::new("A report");
/// page.lead("Diverse data help: **0.65** against 0.19.");
/// page.section("Numbers").text("Over 64 questions.").table(&Table::new(["arm"]).row(["base"]));
/// page.details("All settings", |inside| {
///     inside.code("seed = 1");
/// });
/// assert!(page.render().contains("<h2 id=\"numbers\">Numbers</h2>"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    body: String,
    contents: Vec<(String, String)>,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// The claim in one sentence, set large.
    pub fn lead(&mut self, text: &str) -> &mut Self {
        let _ = write!(self.body, "<p class=\"lead\">{}</p>", inline(text));
        self
    }

    /// Starts a section; it appears in the list of contents.
    pub fn section(&mut self, heading: &str) -> &mut Self {
        let dashed: String =
            heading.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let mut id = dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        if id.is_empty() || self.contents.iter().any(|(other, _)| *other == id) {
            id = format!("{id}-{}", self.contents.len() + 1);
        }
        let _ = write!(self.body, "<h2 id=\"{}\">{}</h2>", escape(&id), inline(heading));
        self.contents.push((id, heading.to_owned()));
        self
    }

    /// A smaller heading.
    pub fn heading(&mut self, heading: &str) -> &mut Self {
        let _ = write!(self.body, "<h3>{}</h3>", inline(heading));
        self
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let _ = write!(self.body, "<p>{}</p>", inline(text));
        self
    }

    /// A list with bullets.
    pub fn list(&mut self, items: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        self.body.push_str("<ul>");
        for item in items {
            let _ = write!(self.body, "<li>{}</li>", inline(item.as_ref()));
        }
        self.body.push_str("</ul>");
        self
    }

    /// A row of tiles: large values with small names.
    pub fn tiles(
        &mut self,
        tiles: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    ) -> &mut Self {
        self.body.push_str("<div class=\"tiles\">");
        for (name, value) in tiles {
            let (name, value) = (inline(name.as_ref()), inline(value.as_ref()));
            let _ = write!(self.body, "<div class=\"tile\"><b>{value}</b><span>{name}</span></div>");
        }
        self.body.push_str("</div>");
        self
    }

    /// A table.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        self.body.push_str(&table.to_html());
        self
    }

    /// One figure with a caption: SVG text of this module.
    pub fn figure(&mut self, svg: &str, caption: &str) -> &mut Self {
        let _ = write!(self.body, "<figure>{svg}");
        if !caption.is_empty() {
            let _ = write!(self.body, "<figcaption>{}</figcaption>", inline(caption));
        }
        self.body.push_str("</figure>");
        self
    }

    /// Several figures side by side where the screen is wide enough.
    pub fn figures(&mut self, figures: impl IntoIterator<Item = (String, String)>) -> &mut Self {
        self.body.push_str("<div class=\"grid-of\">");
        for (svg, caption) in figures {
            self.figure(&svg, &caption);
        }
        self.body.push_str("</div>");
        self
    }

    /// Preformatted text: settings, a sample, a command.
    pub fn code(&mut self, text: &str) -> &mut Self {
        let _ = write!(self.body, "<pre>{}</pre>", escape(text));
        self
    }

    /// Preformatted texts side by side, each with a heading and a tone: `Some(true)` right, `Some(false)` wrong.
    pub fn cards<'a>(
        &mut self,
        cards: impl IntoIterator<Item = (&'a str, &'a str, Option<bool>)>,
    ) -> &mut Self {
        self.body.push_str("<div class=\"cards\">");
        for (heading, text, right) in cards {
            let (class, mark) = match right {
                Some(true) => ("card right", " ✓"),
                Some(false) => ("card wrong", " ✗"),
                None => ("card", ""),
            };
            let (heading, text) = (inline(heading), escape(text));
            let _ =
                write!(self.body, "<div class=\"{class}\"><h4>{heading}{mark}</h4><pre>{text}</pre></div>");
        }
        self.body.push_str("</div>");
        self
    }

    /// A folded part that opens on a click.
    pub fn details(&mut self, summary: &str, fill: impl FnOnce(&mut Page)) -> &mut Self {
        let _ = write!(self.body, "<details><summary>{}</summary>", inline(summary));
        let mut inside = Page::default();
        fill(&mut inside);
        self.body.push_str(&inside.body);
        self.body.push_str("</details>");
        self
    }

    /// Raw HTML, not escaped: only for text the program itself made.
    pub fn raw_html(&mut self, html: &str) -> &mut Self {
        self.body.push_str(html);
        self
    }

    /// The whole page.
    pub fn render(&self) -> String {
        let title = escape(&self.title);
        let mut contents = String::new();
        if self.contents.len() > 2 {
            contents.push_str("<nav>");
            for (id, heading) in &self.contents {
                let _ = write!(contents, "<a href=\"#{}\">{}</a>", escape(id), inline(heading));
            }
            contents.push_str("</nav>");
        }
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><style>{PAGE_STYLE}{}</style></head>\n<body><main>\
             <h1>{title}</h1>{contents}{}</main></body></html>\n",
            style_sheet(),
            self.body
        )
    }
}

const PAGE_STYLE: &str = "\
:root{--bg:#fbfbfa;--fg:#1f2430;--dim:#626b7a;--line:#e3e6eb;--card:#ffffff;--code:#f2f3f5;--link:#0b62a4;--ok:#009e73;--no:#c2410c}\
@media (prefers-color-scheme:dark){:root{--bg:#0f1115;--fg:#e5e7eb;--dim:#9aa3af;--line:#30363f;--card:#15181d;--code:#1b1f26;--link:#7cc0f2;--ok:#2fc79b;--no:#f58a42}}\
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:16.5px/1.6 Charter,'Bitstream Charter','Iowan Old Style',Georgia,serif}\
main{max-width:76rem;margin:0 auto;padding:2.5rem 1.5rem 5rem}\
p,ul,h1,h3,details>summary,nav{max-width:46rem}\
h1,h2,h3,h4,nav,table,figcaption,.tile,summary,.caption{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
h1{font-size:2rem;line-height:1.2;margin:0 0 1rem}h2{font-size:1.35rem;margin:3rem 0 .7rem;padding-top:1rem;border-top:1px solid var(--line)}\
h3{font-size:1.08rem;margin:1.8rem 0 .4rem}h4{font-size:.9rem;margin:0 0 .4rem}.lead{font-size:1.25rem;line-height:1.5}\
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;font-size:.9rem;margin:1rem 0 1.5rem}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\
figure{margin:1.2rem 0;padding:.8rem;background:var(--card);border:1px solid var(--line);border-radius:10px;width:fit-content;max-width:100%}\
figure svg{max-width:100%;height:auto;display:block}figcaption,.caption{color:var(--dim);font-size:.87rem;line-height:1.45;margin:.5rem .3rem 0;max-width:44rem}\
.grid-of{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1rem}.grid-of figure{margin:0;width:auto}\
.scroll{overflow-x:auto;margin:1rem 0 .3rem}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}\
th,td{padding:.32rem .8rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600;border-bottom:2px solid var(--line)}\
td.n,th.n{text-align:right;white-space:nowrap}tbody tr:hover{background:var(--code)}\
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.84em;background:var(--code);border-radius:5px}\
code{padding:.1em .3em}pre{padding:.8rem 1rem;overflow-x:auto;white-space:pre-wrap;line-height:1.45;margin:.6rem 0}\
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.7rem 1.1rem;min-width:8rem}\
.tile b{display:block;font-size:1.45rem;font-weight:650}.tile span{color:var(--dim);font-size:.84rem}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:.8rem;margin:1rem 0}\
.card{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--line);border-radius:8px;padding:.7rem .9rem;min-width:0}\
.card.right{border-left-color:var(--ok)}.card.wrong{border-left-color:var(--no)}.card pre{background:none;padding:0;margin:0}\
details{margin:1rem 0}summary{cursor:pointer;color:var(--link);font-size:.95rem}\
@media print{body{background:#fff}figure,.card{break-inside:avoid}}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{LineChart, Series};

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "<script>alert('x')</script>\u{0} & \"`<b>`\" **<i>**";
        let mut page = Page::new(hostile);
        page.lead(hostile).section(hostile).heading(hostile).text(hostile).list([hostile]).code(hostile);
        page.tiles([(hostile, hostile)]).cards([(hostile, hostile, Some(false))]);
        page.table(&Table::new([hostile]).row([hostile]).caption(hostile));
        page.figure(&LineChart::new(hostile).series(Series::new(hostile, [(0.0, 1.0)])).to_svg(), hostile);
        page.details(hostile, |inside| {
            inside.text(hostile);
        });
        let html = page.render();
        for bad in ["<script", "<b>`", "<i>", "\u{0}"] {
            assert!(!html.contains(bad), "{bad:?} got through");
        }
        assert!(html.contains("&lt;script&gt;"));
    }

    #[test]
    fn the_page_refers_to_nothing_outside() {
        let mut page = Page::new("t");
        page.figure(&LineChart::new("t").series(Series::new("s", [(1.0, 1.0)])).to_svg(), "c");
        let html = page.render().replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
