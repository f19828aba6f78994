//! The arms of the experiment: from which model each starts, and what RL it gets.

use serde::Serialize;

/// A model before RL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The pre-trained model.
    Base,
    /// SFT on its own correct unprompted solutions.
    Star,
    /// SFT on the best correct solution of every approach.
    Mid,
    /// As `Mid`, with the best *incorrect* solutions.
    Wrong,
    /// A quarter of the questions, every approach.
    Depth,
    /// All questions, one approach each.
    Breadth,
    /// As `Mid` with the first approach alone.
    N1,
    /// As `Mid` with the first two approaches.
    N2,
}

impl Start {
    /// The key used in files.
    pub fn key(self) -> &'static str {
        match self {
            Start::Base => "base",
            Start::Star => "star",
            Start::Mid => "mid",
            Start::Wrong => "wrong",
            Start::Depth => "depth",
            Start::Breadth => "breadth",
            Start::N1 => "n1",
            Start::N2 => "n2",
        }
    }
}

/// How RL departs from the plain recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The recipe as it is.
    Plain,
    /// More steps: as many more generated tokens as self-generation cost.
    Extra,
    /// Higher temperature and entropy bonus.
    Explore,
    /// Groups a third as large, of three times as many questions.
    SmallGroups,
    /// Every rollout's prompt names one of the approaches, in turn; so do the prompts at evaluation.
    Prompted,
}

/// One row of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arm {
    /// The key in `results.json`.
    pub key: &'static str,
    /// What people read.
    pub label: &'static str,
    /// Where it starts.
    pub start: Start,
    /// Its RL, if any.
    pub rl: Option<Variant>,
}

impl Arm {
    /// Under which key the recipe's `tuned` has this arm's learning rate and entropy bonus: its start's, but arms whose RL
    /// is another have their own. Longer RL and smaller groups are the plain RL of their start, spent otherwise.
    pub fn tuning(&self) -> &'static str {
        match self.rl {
            Some(Variant::Explore | Variant::Prompted) => self.key,
            _ => self.start.key(),
        }
    }

    /// The variant, of an arm with RL whose tuning key is its own or its start's.
    pub fn swept(&self) -> Option<Variant> {
        self.rl.filter(|variant| !matches!(variant, Variant::Extra | Variant::SmallGroups))
    }
}

const fn arm(key: &'static str, label: &'static str, start: Start, rl: Option<Variant>) -> Arm {
    Arm { key, label, start, rl }
}

/// The arm the paper is about.
pub const MID_RL: Arm = arm("mid_rl", "mid-trained + RL", Start::Mid, Some(Variant::Plain));

/// The arms of every run.
pub const MAIN: [Arm; 6] = [
    arm("base", "base", Start::Base, None),
    arm("star", "STaR", Start::Star, None),
    arm("mid", "mid-trained", Start::Mid, None),
    arm("base_rl", "base + RL", Start::Base, Some(Variant::Plain)),
    arm("star_rl", "STaR + RL", Start::Star, Some(Variant::Plain)),
    MID_RL,
];

/// The controls of `--full`.
pub const CONTROLS: [Arm; 11] = [
    arm("wrong_rl", "wrong chains + RL", Start::Wrong, Some(Variant::Plain)),
    arm("depth_rl", "depth + RL", Start::Depth, Some(Variant::Plain)),
    arm("breadth_rl", "breadth + RL", Start::Breadth, Some(Variant::Plain)),
    arm("n1_rl", "one approach + RL", Start::N1, Some(Variant::Plain)),
    arm("n2_rl", "two approaches + RL", Start::N2, Some(Variant::Plain)),
    arm("n1_rl_small_groups", "one approach + RL, small groups", Start::N1, Some(Variant::SmallGroups)),
    arm("n2_rl_small_groups", "two approaches + RL, small groups", Start::N2, Some(Variant::SmallGroups)),
    arm("mid_rl_small_groups", "mid-trained + RL, small groups", Start::Mid, Some(Variant::SmallGroups)),
    arm("base_rl_extra", "base + longer RL", Start::Base, Some(Variant::Extra)),
    arm("base_rl_explore", "base + exploring RL", Start::Base, Some(Variant::Explore)),
    arm("base_rl_prompted", "base + prompted RL", Start::Base, Some(Variant::Prompted)),
];
