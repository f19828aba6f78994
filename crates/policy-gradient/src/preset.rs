//! Named algorithms as [`Recipe`]s: what each paper says, and what its best-known implementation does instead.
//!
//! A function without a suffix is the paper's; `_verl`, `_trl`, `_openrlhf` and `_open_instruct` are that library's default
//! for the algorithm (verl 0.9, TRL 1.16, OpenRLHF 0.11, open-instruct of August 2026). A recipe is a plain struct: take
//! one and change a field.
//!
//! In the formulas `pi` is the probability of the sampled token, `r = pi / pi_old` its ratio, `A` the advantage, `R` the response's reward, `mean_g`
//! and `std_g` those of its group, `|y|` its counted tokens. The parts say more: [`objective`](mod@crate::objective), [`advantage`](crate::advantage).
//!
//! ```
//! use policy_gradient::{Aggregation, preset};
//! let mut mine = preset::grpo();
//! mine.kl = None;
//! mine.aggregation = Aggregation::TokenMean;
//! assert_ne!(mine, preset::grpo());
//! ```

use crate::advantage::{GroupConfig, RlooConfig, Scale, Singleton, Std};
use crate::aggregate::{Aggregation, EmptyRows};
use crate::bounds::Bounds;
use crate::kl::{Kl, KlEstimator};
use crate::objective::{
    Cispo, Clip, ClipCov, Divergence, Dppo, Dro, Gmpo, KlCov, Objective, PpoClip, RatioLevel, Sapo,
    Surrogate, Topr, Vespo,
};
use crate::recipe::{Advantage, KlTerm, Recipe};

const ROWS: Aggregation = Aggregation::SequenceMeanTokenMean { empty_rows: EmptyRows::Excluded };
const ROWS_COUNTED: Aggregation = Aggregation::SequenceMeanTokenMean { empty_rows: EmptyRows::Counted };

fn recipe(advantage: Advantage, objective: Objective, aggregation: Aggregation) -> Recipe {
    Recipe { advantage, objective, aggregation, kl: None, entropy: 0.0 }
}

fn normalised(ddof: u8, eps: f64, singleton: Singleton) -> Advantage {
    Advantage::Group(GroupConfig { scale: Scale::Group(Std { ddof, eps }), singleton })
}

fn centred() -> Advantage {
    Advantage::Group(GroupConfig::centred())
}

/// The clipped ratio without any other limit.
fn clip(low: f64, high: f64) -> PpoClip {
    PpoClip { clip: Clip { low, high }, log_ratio: Bounds::NONE, ..PpoClip::default() }
}

/// verl's "vanilla" loss: dual clip at 3, log-ratio within ±20.
fn clip_verl(low: f64, high: f64) -> PpoClip {
    PpoClip { dual: Some(3.0), log_ratio: Bounds::symmetric(20.0), ..clip(low, high) }
}

fn ppo_objective(config: PpoClip) -> Objective {
    Objective::PpoClip(config)
}

/// PPO [arXiv:1707.06347], equation 7, on tokens: ratio clipped at 0.2, mean over tokens. Advantages come from
/// [`gae`](crate::advantage::gae); train the critic with [`value_loss`](crate::value_loss) and add its loss and, if you
/// like, an entropy bonus.
///
/// Loss: mean over tokens of `-min(r A, clip(r, 0.8, 1.2) A)`.
pub fn ppo() -> Recipe {
    recipe(Advantage::Supplied, ppo_objective(clip(0.2, 0.2)), Aggregation::TokenMean)
}

/// PPO in verl: dual clip at 3, log-ratio within ±20; GAE advantages whitened over the batch.
pub fn ppo_verl() -> Recipe {
    recipe(Advantage::Supplied, ppo_objective(clip_verl(0.2, 0.2)), Aggregation::TokenMean)
}

/// PPO in OpenRLHF: log-ratio within ±20; GAE with [`Masked::Zero`](crate::advantage::Masked::Zero), whitened with a biased
/// variance.
pub fn ppo_openrlhf() -> Recipe {
    let clip = PpoClip { log_ratio: Bounds::symmetric(20.0), ..clip(0.2, 0.2) };
    recipe(Advantage::Supplied, ppo_objective(clip), Aggregation::TokenMean)
}

/// GRPO [arXiv:2402.03300], equation 3: rewards normalised in their group, ratio clipped at 0.2, every sequence weighs
/// the same, and a k3 penalty (equation 4) with coefficient 0.04 (section 4.2).
///
/// Loss: mean over sequences of `1/|y| sum_t (-min(r A, clip(r, 0.8, 1.2) A) + 0.04 k3)`, `A = (R - mean_g) / (std_g + 1e-6)`.
pub fn grpo() -> Recipe {
    Recipe {
        kl: Some(KlTerm { kl: Kl::new(KlEstimator::K3), beta: 0.04 }),
        ..recipe(normalised(1, 1e-6, Singleton::Zero), ppo_objective(clip(0.2, 0.2)), ROWS)
    }
}

/// GRPO in verl with its recommended KL loss (0.001): mean over *tokens*, dual clip at 3, lone responses keep their
/// reward, k3 cut at 10.
pub fn grpo_verl() -> Recipe {
    let k3 = Kl { log_ratio: Bounds::symmetric(20.0), value_bound: Some(10.0), ..Kl::new(KlEstimator::K3) };
    Recipe {
        kl: Some(KlTerm { kl: k3, beta: 0.001 }),
        ..recipe(
            normalised(1, 1e-6, Singleton::Raw),
            ppo_objective(clip_verl(0.2, 0.2)),
            Aggregation::TokenMean,
        )
    }
}

/// GRPO in TRL, `loss_type="grpo"`: eps 1e-4, empty rows counted, no penalty unless asked for. (TRL's default loss type is
/// DAPO's: see [`dapo_trl`].)
pub fn grpo_trl() -> Recipe {
    recipe(normalised(1, 1e-4, Singleton::Zero), ppo_objective(clip(0.2, 0.2)), ROWS_COUNTED)
}

/// GRPO in OpenRLHF, `group_norm`: eps 1e-9, mean over tokens.
pub fn grpo_openrlhf() -> Recipe {
    Recipe { advantage: normalised(1, 1e-9, Singleton::Zero), ..ppo_openrlhf() }
}

/// GRPO in open-instruct: centred advantages, clip at 0.2 and 0.272, mean over tokens, k3 with coefficient 0.05.
pub fn grpo_open_instruct() -> Recipe {
    let k3 = Kl { log_ratio: Bounds::symmetric(40.0), ..Kl::new(KlEstimator::K3) };
    Recipe {
        kl: Some(KlTerm { kl: k3, beta: 0.05 }),
        ..recipe(centred(), ppo_objective(clip(0.2, 0.272)), Aggregation::TokenMean)
    }
}

/// Dr. GRPO [arXiv:2503.20783], section 3.2: neither the deviation nor the sequence's length divides; token sums over a
/// constant, the longest completion allowed.
///
/// Loss: mean over sequences of `1/longest sum_t -min(r A, clip(r, 0.8, 1.2) A)`, `A = R - mean_g`.
pub fn dr_grpo(longest: f64) -> Recipe {
    let over = Aggregation::SequenceMeanTokenSumOver { length: longest, empty_rows: EmptyRows::Excluded };
    recipe(centred(), ppo_objective(clip(0.2, 0.2)), over)
}

/// Dr. GRPO in verl, `seq-mean-token-sum-norm`: with verl's dual clip; lone responses keep their reward.
pub fn dr_grpo_verl(longest: f64) -> Recipe {
    let advantage = Advantage::Group(GroupConfig { scale: Scale::None, singleton: Singleton::Raw });
    Recipe { advantage, objective: ppo_objective(clip_verl(0.2, 0.2)), ..dr_grpo(longest) }
}

/// Dr. GRPO in TRL, `loss_type="dr_grpo"` with `scale_rewards="none"`: empty rows counted.
pub fn dr_grpo_trl(longest: f64) -> Recipe {
    let over = Aggregation::SequenceMeanTokenSumOver { length: longest, empty_rows: EmptyRows::Counted };
    Recipe { aggregation: over, ..dr_grpo(longest) }
}

/// DAPO [arXiv:2503.14476], equation 8: clip at 0.2 below and 0.28 above, mean over tokens, no penalty. Goes with
/// [`keep_groups`](crate::keep_groups) and [`overlong_penalty`](crate::reward::overlong_penalty).
///
/// Loss: mean over tokens of `-min(r A, clip(r, 0.8, 1.28) A)`, `A = (R - mean_g) / (std_g + 1e-6)`.
pub fn dapo() -> Recipe {
    recipe(normalised(1, 1e-6, Singleton::Zero), ppo_objective(clip(0.2, 0.28)), Aggregation::TokenMean)
}

/// DAPO in verl: with its dual clip.
pub fn dapo_verl() -> Recipe {
    Recipe {
        advantage: normalised(1, 1e-6, Singleton::Raw),
        objective: ppo_objective(clip_verl(0.2, 0.28)),
        ..dapo()
    }
}

/// TRL's default, `loss_type="dapo"`: mean over tokens, but clip at 0.2 on both sides.
pub fn dapo_trl() -> Recipe {
    Recipe {
        advantage: normalised(1, 1e-4, Singleton::Zero),
        objective: ppo_objective(clip(0.2, 0.2)),
        ..dapo()
    }
}

/// BNPO as in TRL: DAPO's reduction over the local batch. Pass the *micro-batch's* counts to get TRL's numbers; with
/// global counts it is [`dapo_trl`].
pub fn bnpo_trl() -> Recipe {
    dapo_trl()
}

/// LUSPO as in TRL: the sequence ratio of GSPO, and token sums averaged over sequences, which takes the length bias out of
/// it.
pub fn luspo_trl() -> Recipe {
    let objective = ppo_objective(PpoClip { level: RatioLevel::SequenceMean, ..clip(0.2, 0.2) });
    let sums = Aggregation::SequenceMeanTokenSum { empty_rows: EmptyRows::Counted };
    recipe(normalised(1, 1e-4, Singleton::Zero), objective, sums)
}

/// VESPO [arXiv:2602.10693], equation 20 (version 3), as in TRL.
pub fn vespo_trl() -> Recipe {
    Recipe { objective: Objective::Vespo(Vespo::default()), ..dapo_trl() }
}

/// GSPO [arXiv:2507.18071], equation 5: one ratio per sequence, clipped at 3e-4 and 4e-4 (section 5.1).
///
/// Loss: mean over sequences of `-min(s A, clip(s, 1 - 3e-4, 1 + 4e-4) A)`, `s = (prod_t r)^(1/|y|)`.
pub fn gspo() -> Recipe {
    let objective = ppo_objective(PpoClip { level: RatioLevel::SequenceMean, ..clip(3e-4, 4e-4) });
    recipe(normalised(1, 1e-6, Singleton::Zero), objective, ROWS)
}

/// GSPO in verl: the token variant, log-ratio at most 10. The reduction is the one verl recommends for it.
pub fn gspo_verl() -> Recipe {
    let objective = ppo_objective(PpoClip {
        level: RatioLevel::SequenceMeanToken,
        log_ratio: Bounds::at_most(10.0),
        ..clip(3e-4, 4e-4)
    });
    Recipe { objective, advantage: normalised(1, 1e-6, Singleton::Raw), ..gspo() }
}

/// GSPO in TRL, `importance_sampling_level="sequence"`, `loss_type="grpo"`.
pub fn gspo_trl() -> Recipe {
    Recipe { advantage: normalised(1, 1e-4, Singleton::Zero), aggregation: ROWS_COUNTED, ..gspo() }
}

/// GMPO [arXiv:2507.20673], equation 4 (version 3): the geometric mean of ratios clipped at exp(±0.4).
///
/// Loss: mean over sequences of `-A (prod_t r')^(1/|y|)`, `r'` the ratio clipped at `exp(±0.4)` on the side to which `A` pushes it.
pub fn gmpo() -> Recipe {
    recipe(normalised(1, 1e-6, Singleton::Zero), Objective::Gmpo(Gmpo::default()), ROWS)
}

/// GMPO in verl, `geo_mean`: the clip is the common 0.2, and empty rows count.
pub fn gmpo_verl() -> Recipe {
    let objective = Objective::Gmpo(Gmpo { clip: Clip::default() });
    Recipe { advantage: normalised(1, 1e-6, Singleton::Raw), objective, aggregation: ROWS_COUNTED, ..gmpo() }
}

/// GMPO in TRL: empty rows count.
pub fn gmpo_trl() -> Recipe {
    Recipe { advantage: normalised(1, 1e-4, Singleton::Zero), aggregation: ROWS_COUNTED, ..gmpo() }
}

/// CISPO [arXiv:2506.13585], equations 4 and 5: a weight of at most 1 + 0.28 (the limit is not in the paper) on
/// REINFORCE, mean over tokens.
///
/// Loss: mean over tokens of `-sg(min(r, 1.28)) A log pi`, `sg` without gradient.
pub fn cispo() -> Recipe {
    let objective = Objective::Cispo(Cispo { log_ratio: Bounds::NONE, ..Cispo::default() });
    recipe(normalised(1, 1e-6, Singleton::Zero), objective, Aggregation::TokenMean)
}

/// CISPO in verl: the weight has a floor too.
pub fn cispo_verl() -> Recipe {
    let objective = Objective::Cispo(Cispo { ratio: Bounds::between(0.8, 1.2), ..Cispo::default() });
    Recipe { advantage: normalised(1, 1e-6, Singleton::Raw), objective, ..cispo() }
}

/// CISPO in TRL: the cap is an absolute 5, as its documentation recommends.
pub fn cispo_trl() -> Recipe {
    let objective =
        Objective::Cispo(Cispo { ratio: Bounds::at_most(5.0), log_ratio: Bounds::NONE, ..Cispo::default() });
    Recipe { advantage: normalised(1, 1e-4, Singleton::Zero), objective, ..cispo() }
}

/// CISPO in open-instruct: at most 1 + 0.272, centred advantages, and its k3 penalty.
pub fn cispo_open_instruct() -> Recipe {
    let objective = Objective::Cispo(Cispo {
        ratio: Bounds::at_most(1.272),
        log_ratio: Bounds::NONE,
        ..Cispo::default()
    });
    Recipe { objective, ..grpo_open_instruct() }
}

/// SAPO [arXiv:2511.20347], equations 5 and 6: a sigmoid gate instead of the clip; every sequence weighs the same.
///
/// Loss: mean over sequences of `1/|y| sum_t -A (4 / tau) sigmoid(tau (r - 1))`, `tau` by the sign of `A`.
pub fn sapo() -> Recipe {
    let objective = Objective::Sapo(Sapo { log_ratio: Bounds::NONE, ..Sapo::default() });
    recipe(normalised(1, 1e-6, Singleton::Zero), objective, ROWS)
}

/// SAPO in verl: log-ratio within ±20.
pub fn sapo_verl() -> Recipe {
    let objective = Objective::Sapo(Sapo::default());
    Recipe { advantage: normalised(1, 1e-6, Singleton::Raw), objective, ..sapo() }
}

/// SAPO in TRL: empty rows count.
pub fn sapo_trl() -> Recipe {
    Recipe { advantage: normalised(1, 1e-4, Singleton::Zero), aggregation: ROWS_COUNTED, ..sapo() }
}

/// DPPO [arXiv:2602.04879], equations 12 and 13 (version 3), with the total variation of the sampled token, at most
/// 0.2: centred rewards, token sums.
///
/// Loss: mean over sequences of `sum_t -m r A`, `m = 0` where `|p - p_old| > 0.2` and `A` pushes further, else 1.
pub fn dppo_tv() -> Recipe {
    let objective = Objective::Dppo(Dppo { log_ratio: Bounds::NONE, ..Dppo::default() });
    let sums = Aggregation::SequenceMeanTokenSum { empty_rows: EmptyRows::Excluded };
    recipe(centred(), objective, sums)
}

/// DPPO [arXiv:2602.04879], equations 12 and 14 (version 3), with the KL divergence of the sampled token, at most 0.05
/// nats.
///
/// Loss: as [`dppo_tv`], `m = 0` where the divergence of the two-way choice "this token or another" exceeds 0.05.
pub fn dppo_kl() -> Recipe {
    let objective = Objective::Dppo(Dppo {
        divergence: Divergence::Kl,
        low: 0.05,
        high: 0.05,
        log_ratio: Bounds::NONE,
        ..Dppo::default()
    });
    Recipe { objective, ..dppo_tv() }
}

/// DPPO in verl, `dppo_tv`: the score form, with a weight of at most `clip_ratio_c`, 3 by default (20 is recommended).
pub fn dppo_tv_verl() -> Recipe {
    let objective = Objective::Dppo(Dppo { surrogate: Surrogate::Score { cap: 3.0 }, ..Dppo::default() });
    recipe(normalised(1, 1e-6, Singleton::Raw), objective, Aggregation::TokenMean)
}

/// DPPO in verl, `dppo_kl`; see [`dppo_tv_verl`].
pub fn dppo_kl_verl() -> Recipe {
    let objective = Objective::Dppo(Dppo {
        divergence: Divergence::Kl,
        surrogate: Surrogate::Score { cap: 3.0 },
        ..Dppo::default()
    });
    recipe(normalised(1, 1e-6, Singleton::Raw), objective, Aggregation::TokenMean)
}

/// TOPR [arXiv:2503.14286], equation 8: rewarded responses plainly, the others with their sequence ratio cut to [0, 1].
/// The reward is the advantage; centre it first if you like.
///
/// Loss: mean over sequences of `sum_t -sg(w) A log pi`, `w = 1` where `A > 0`, else `min(prod_t r, 1)`.
pub fn topr() -> Recipe {
    let sums = Aggregation::SequenceMeanTokenSum { empty_rows: EmptyRows::Excluded };
    recipe(Advantage::Supplied, Objective::Topr(Topr { log_ratio: Bounds::NONE, ..Topr::default() }), sums)
}

/// RLOO [arXiv:2402.14740], section 2.3: leave-one-out advantages, REINFORCE on whole sequences.
///
/// Loss: mean over sequences of `sum_t -A log pi`, `A = R - mean of the others`.
pub fn rloo() -> Recipe {
    let sums = Aggregation::SequenceMeanTokenSum { empty_rows: EmptyRows::Excluded };
    recipe(Advantage::Rloo(RlooConfig::default()), Objective::Reinforce, sums)
}

/// RLOO in verl: leave-one-out advantages in its clipped loss; lone responses keep their reward.
pub fn rloo_verl() -> Recipe {
    let advantage = Advantage::Rloo(RlooConfig { singleton: Singleton::Raw, normalise: None });
    Recipe { advantage, ..ppo_verl() }
}

/// RLOO in TRL: the whole sequence's ratio, clipped at 0.2; the KL penalty (0.05) is in the reward:
/// [`less_summed_kl`](crate::reward::less_summed_kl).
pub fn rloo_trl() -> Recipe {
    let objective = ppo_objective(PpoClip { level: RatioLevel::SequenceSum, ..clip(0.2, 0.2) });
    recipe(Advantage::Rloo(RlooConfig::default()), objective, ROWS_COUNTED)
}

/// RLOO in OpenRLHF.
pub fn rloo_openrlhf() -> Recipe {
    Recipe { advantage: Advantage::Rloo(RlooConfig::default()), ..ppo_openrlhf() }
}

/// REINFORCE++ [arXiv:2501.03262], section 3 (version 9): PPO's clipped loss on advantages from
/// [`reinforce_pp`](crate::advantage::reinforce_pp) or [`reinforce_pp_baseline`](crate::advantage::reinforce_pp_baseline),
/// every sequence weighing the same (equation 1).
///
/// Loss: mean over sequences of `1/|y| sum_t -min(r A, clip(r, 0.8, 1.2) A)`, `A = (G - mean) / std` over the batch.
pub fn reinforce_pp() -> Recipe {
    Recipe { aggregation: ROWS, ..ppo() }
}

/// REINFORCE++ in verl: its advantages in the clipped loss with dual clip, mean over tokens.
pub fn reinforce_pp_verl() -> Recipe {
    ppo_verl()
}

/// REINFORCE++ in OpenRLHF: with [`Masked::Zero`](crate::advantage::Masked::Zero), mean over tokens.
pub fn reinforce_pp_openrlhf() -> Recipe {
    ppo_openrlhf()
}

/// ReMax [arXiv:2310.10505], Algorithm 1: REINFORCE on sequences, with advantages from
/// [`remax`](crate::advantage::remax).
///
/// Loss: mean over sequences of `sum_t -(R - R_greedy) log pi`.
pub fn remax() -> Recipe {
    Recipe { advantage: Advantage::Supplied, ..rloo() }
}

/// ReMax in verl: its advantages, from [`remax_tokens`](crate::advantage::remax_tokens), in the clipped loss.
pub fn remax_verl() -> Recipe {
    ppo_verl()
}

/// OPO [arXiv:2505.23585], the length-weighted form of its optimal baseline: strictly on policy, length-weighted baseline.
///
/// Loss: mean over tokens of `-A log pi`, `A = R - sum_j l_j R_j / sum_j l_j`.
pub fn opo() -> Recipe {
    recipe(Advantage::Opo(Singleton::Zero), Objective::Reinforce, Aggregation::TokenMean)
}

/// OPO in verl: in its clipped loss; lone responses keep their reward.
pub fn opo_verl() -> Recipe {
    Recipe { advantage: Advantage::Opo(Singleton::Raw), ..ppo_verl() }
}

/// GPG [arXiv:2504.02546], equation 5: the plain policy gradient on centred rewards, scaled up for responses without
/// reward, which are counted as in verl (see [`gpg`](crate::advantage::gpg)).
///
/// Loss: mean over tokens of `-alpha (R - mean_g) log pi`.
pub fn gpg() -> Recipe {
    recipe(Advantage::Gpg(Singleton::Zero), Objective::Reinforce, Aggregation::TokenMean)
}

/// GPG in verl: lone responses keep their reward.
pub fn gpg_verl() -> Recipe {
    Recipe { advantage: Advantage::Gpg(Singleton::Raw), ..gpg() }
}

/// MaxRL [arXiv:2602.02710], Algorithm 1 (version 3): `(R - mean) / mean`, REINFORCE.
pub fn max_rl() -> Recipe {
    recipe(Advantage::Group(GroupConfig::max_rl()), Objective::Reinforce, Aggregation::TokenMean)
}

/// Pass@k training [arXiv:2503.19595]: only the best response of a group learns, by its lead over the second.
///
/// Loss: mean over tokens of `-min(r A, clip(r, 0.8, 1.2) A)`, `A = R_1 - R_2` for the best response, else 0.
pub fn best_of_group() -> Recipe {
    Recipe { advantage: Advantage::PassAtK(Scale::None), ..best_of_group_verl() }
}

/// Pass@k training in verl: the lead is divided by the group's deviation.
pub fn best_of_group_verl() -> Recipe {
    Recipe { advantage: Advantage::PassAtK(Scale::Group(Std::default())), ..dapo_trl() }
}

/// DRO [arXiv:2405.19107], equation 8, taken token by token as in verl, with a pull of `beta`.
///
/// Loss: mean over tokens of `-A log pi + beta/2 (log pi - log pi_old)^2`, `A = R - mean_g`.
pub fn dro(beta: f64) -> Recipe {
    recipe(centred(), Objective::Dro(Dro { beta }), Aggregation::TokenMean)
}

/// Clip-Cov [arXiv:2505.22617], equation 12, on GRPO's advantages.
///
/// Loss: mean over tokens of `-min(r A, clip(r, 0.8, 1.2) A)`, without the few tokens cut out.
pub fn clip_cov() -> Recipe {
    recipe(
        normalised(1, 1e-6, Singleton::Zero),
        Objective::ClipCov(ClipCov::default()),
        Aggregation::TokenMean,
    )
}

/// Clip-Cov in verl: lone responses keep their reward.
pub fn clip_cov_verl() -> Recipe {
    Recipe { advantage: normalised(1, 1e-6, Singleton::Raw), ..clip_cov() }
}

/// KL-Cov [arXiv:2505.22617], equation 14, on GRPO's advantages.
///
/// Loss: mean over tokens of `-r A`, plus the coefficient times `|log r|` on the few tokens of highest covariance.
pub fn kl_cov() -> Recipe {
    recipe(normalised(1, 1e-6, Singleton::Zero), Objective::KlCov(KlCov::default()), Aggregation::TokenMean)
}

/// KL-Cov in verl: coefficient 0.1, as its configuration has it; lone responses keep their reward.
pub fn kl_cov_verl() -> Recipe {
    Recipe {
        advantage: normalised(1, 1e-6, Singleton::Raw),
        objective: Objective::KlCov(KlCov { coefficient: 0.1, ..KlCov::default() }),
        ..kl_cov()
    }
}

/// Every preset with its name, those with an argument at a usual value: for tests, tables and command lines.
///
/// ```
/// let names: Vec<&str> = policy_gradient::preset::all().iter().map(|(name, _)| *name).collect();
/// assert!(names.contains(&"grpo") && names.contains(&"dapo_trl"));
/// ```
pub fn all() -> Vec<(&'static str, Recipe)> {
    vec![
        ("ppo", ppo()),
        ("ppo_verl", ppo_verl()),
        ("ppo_openrlhf", ppo_openrlhf()),
        ("grpo", grpo()),
        ("grpo_verl", grpo_verl()),
        ("grpo_trl", grpo_trl()),
        ("grpo_openrlhf", grpo_openrlhf()),
        ("grpo_open_instruct", grpo_open_instruct()),
        ("dr_grpo", dr_grpo(1024.0)),
        ("dr_grpo_verl", dr_grpo_verl(1024.0)),
        ("dr_grpo_trl", dr_grpo_trl(1024.0)),
        ("dapo", dapo()),
        ("dapo_verl", dapo_verl()),
        ("dapo_trl", dapo_trl()),
        ("bnpo_trl", bnpo_trl()),
        ("luspo_trl", luspo_trl()),
        ("vespo_trl", vespo_trl()),
        ("gspo", gspo()),
        ("gspo_verl", gspo_verl()),
        ("gspo_trl", gspo_trl()),
        ("gmpo", gmpo()),
        ("gmpo_verl", gmpo_verl()),
        ("gmpo_trl", gmpo_trl()),
        ("cispo", cispo()),
        ("cispo_verl", cispo_verl()),
        ("cispo_trl", cispo_trl()),
        ("cispo_open_instruct", cispo_open_instruct()),
        ("sapo", sapo()),
        ("sapo_verl", sapo_verl()),
        ("sapo_trl", sapo_trl()),
        ("dppo_tv", dppo_tv()),
        ("dppo_kl", dppo_kl()),
        ("dppo_tv_verl", dppo_tv_verl()),
        ("dppo_kl_verl", dppo_kl_verl()),
        ("topr", topr()),
        ("rloo", rloo()),
        ("rloo_verl", rloo_verl()),
        ("rloo_trl", rloo_trl()),
        ("rloo_openrlhf", rloo_openrlhf()),
        ("reinforce_pp", reinforce_pp()),
        ("reinforce_pp_verl", reinforce_pp_verl()),
        ("reinforce_pp_openrlhf", reinforce_pp_openrlhf()),
        ("remax", remax()),
        ("remax_verl", remax_verl()),
        ("opo", opo()),
        ("opo_verl", opo_verl()),
        ("gpg", gpg()),
        ("gpg_verl", gpg_verl()),
        ("max_rl", max_rl()),
        ("best_of_group", best_of_group()),
        ("best_of_group_verl", best_of_group_verl()),
        ("dro", dro(0.1)),
        ("clip_cov", clip_cov()),
        ("clip_cov_verl", clip_cov_verl()),
        ("kl_cov", kl_cov()),
        ("kl_cov_verl", kl_cov_verl()),
    ]
}
