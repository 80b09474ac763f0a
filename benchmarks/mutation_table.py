"""Mutations of formulas, for `benchmarks.mutations`: in which module what becomes what, and which tests should see it."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A text that a module has exactly once, what stands there instead, what is wrong then, and, if no test can see it, why."""

    old: str
    new: str
    breaks: str
    unseen: str = ""


class Target(NamedTuple):
    """A module by its dotted name, its mutations, and the files of tests that should see them (`file::test` is a single one)."""

    module: str
    tests: tuple[str, ...]
    mutations: tuple[Mutation, ...]


STEPS, CURVES = "test_recipe_steps", "test_loss_curves"
TERMS, FIGURES = "test_loss_terms", "test_figures_by_hand"

TABLE = (
    Target(
        "dsva.train.schedule",
        ("test_schedule",),
        (
            Mutation("0.5 * (1 + math.cos(", "0.25 * (3 + math.cos(", "cosine ends at half its peak"),
            Mutation("step / train.steps", "step / max(1, train.steps - 1)", "cosine ends at 0 a step early"),
            Mutation("return warm * 0.5", "return 0.5", "no warm-up under the cosine"),
            Mutation("(step + 1) / optimizer.warmup_steps", "(step + 2) / optimizer.warmup_steps", "warm-up one step early"),
            Mutation("0.9 **", "0.5 **", "published decay 0.5"),
            Mutation("step < train.heads_only_steps", "step <= train.heads_only_steps", "published drop a step late"),
        ),
    ),
    Target(
        "dsva.train.optimizer",
        (STEPS,),
        (
            Mutation("config.weight_decay if decays else 0.0", "config.weight_decay", "weight decay on everything"),
            Mutation("parameter.ndim > 1 and ", "", "weight decay on vectors"),
            Mutation('"prototypes" not in name and ', "", "weight decay on prototypes"),
            Mutation(' and "embedding" not in name', "", "weight decay on embeddings"),
            Mutation("config.backbone_lr if part == BACKBONE else config.lr", "config.lr", "the backbone learns like the heads"),
            Mutation("betas=config.betas, ", "", "Adam's own decay rates"),
            Mutation('group["peak"] * factor', 'group["peak"]', "no schedule"),
            Mutation('0.0 if group["part"] in frozen else group["peak"]', 'group["peak"]', "nothing is frozen"),
            Mutation('group["part"] in idle', "False", "nothing is idle"),
            Mutation(' if not group["idle"]]', "]", "idle groups are stepped"),
        ),
    ),
    Target(
        "dsva.train.ema",
        (STEPS,),
        (
            Mutation("(step + 1) / (step + 10)", "(step + 10) / (step + 100)", "EMA's warm-up ten times slower"),
            Mutation("1 - decay)", "decay)", "mean and weights change places"),
            Mutation("min(self._decay, ", "max(self._decay, ", "no warm-up of the mean"),
            Mutation("finally:\n            self._swap(model)", "finally:\n            pass", "training goes on with the mean"),
        ),
    ),
    Target(
        "dsva.train.engine",
        (STEPS, "test_bad_steps::test_a_loss_that_is_not_finite_has_no_finite_gradient"),
        (
            Mutation('self._clip_norm or float("inf")', 'float("inf")', "no clipping"),
            Mutation('self._clip_norm or float("inf")', "1.0", "clipping at 1 whatever is asked for"),
            Mutation("if norm.isfinite():", "if True:", "steps of NaN are taken"),
            Mutation("self.optimizer.zero_grad(set_to_none=True)", "pass", "gradients of all steps pile up"),
            Mutation('float("nan"))', "float(self._ranks.world_size))", "an infinite loss with a finite gradient is not told"),
            Mutation("self.optimizer.state.clear()", "pass", "moments are never forgotten"),
        ),
    ),
    Target(
        "dsva.train.trainer",
        (STEPS, CURVES),
        (
            Mutation("len(labels) / config.data.batch_size", "1 / config.train.accumulation", "unequal parts count alike"),
            Mutation("len(labels) / config.data.batch_size", "1.0", "losses of parts add up to a multiple"),
            Mutation("terms.get(name, 0) + value", "value", "the last part's loss is logged as the batch's"),
            Mutation("backbone_grad=not heads_only", "backbone_grad=True", "the resting backbone has gradients"),
            Mutation("fine_tuning=not heads_only", "fine_tuning=True", "compactness in the heads-only steps"),
            Mutation("config.model.regions and not heads_only", "config.model.regions", "regions in the heads-only steps"),
            Mutation("(NORM,) if heads_only and not config.optimizer.train_head_norm else ()", "()", "the norm never rests"),
            Mutation("(BACKBONE,) if heads_only else ()", "()", "the backbone is never idle"),
            Mutation("config.optimizer.epoch_steps == 0", "config.optimizer.epoch_steps == 1", "moments are forgotten a step late"),
            Mutation("self._ema.update(batch.step)", "self._ema.update(batch.step + 1)", "EMA's warm-up one step early"),
            Mutation("step < self._config", "step <= self._config", "heads-only steps one too many"),
        ),
    ),
    Target(
        "dsva.model.losses",
        (TERMS, "test_losses", CURVES),
        (
            Mutation("scores + region_weight *", "scores +", "no weight of the region"),
            Mutation('"ce_main": share * ', '"ce_main": ', "cross entropy without its share"),
            Mutation("label_smoothing=self.config.label_smoothing", "label_smoothing=0.0", "no label smoothing"),
            Mutation("scores = scores.softmax(1)", "scores = scores.log_softmax(1)", "the double softmax is a single one"),
            Mutation("mse_loss(outputs.proto, wanted)", "mse_loss(outputs.main, wanted)", "one head's error twice"),
            Mutation("F.mse_loss(outputs.main, wanted)", 'F.mse_loss(outputs.main, wanted, reduction="sum")', "a sum for a mean"),
            Mutation("share * outputs.main_norm", "share * outputs.proto_norm", "one head's group norm twice"),
            Mutation("flat.sigmoid() *", "flat *", "compactness without its sigmoid"),
            Mutation(".square().sum(2)", ".abs().sum(2)", "distances not squared"),
            Mutation("flat.argmax(2)", "flat.argmin(2)", "distances to the lowest cell"),
            Mutation("attention_spread(outputs.maps)", "share * attention_spread(outputs.maps)", "compactness is a mean"),
            Mutation("weights[name] * term", "term", "all terms weigh 1"),
        ),
    ),
    Target(
        "dsva.model.scores",
        (TERMS, "test_losses", CURVES),
        (
            Mutation("seen = strengths[:n_seen]", "seen = strengths", "unseen rows enter the standardisation"),
            Mutation("correction=0", "correction=1", "deviation of a sample"),
            Mutation("clamp(min=config.min_deviation)", "clamp(min=CONSTANT)", "small deviations are not raised"),
            Mutation("torch.where(deviation > CONSTANT, standardised, 0.0)", "standardised", "constant attributes count"),
            Mutation("(strengths - mean) / ", "strengths / ", "rows are not centred"),
            Mutation("F.normalize(attributes, dim=1)", "F.normalize(attributes, dim=0)", "normalised over images"),
            Mutation("else self.config.temperature", "else 1.0", "no temperature"),
        ),
    ),
    Target(
        "dsva.model.heads",
        (TERMS,),
        (
            Mutation("(squares + weight.shape[1] * EPSILON)", "squares", "group norm without its epsilon"),
            Mutation(".sqrt().sum()", ".sum().sqrt()", "one norm over all groups"),
            Mutation("matches.amax(2)", "matches[..., 1:].amax(2)", "prototypes do not look at CLS"),
            Mutation("matches[..., 1:].reshape", "matches[..., :-1].reshape", "maps begin with CLS"),
        ),
    ),
    Target(
        "dsva.model.dsva",
        (TERMS,),
        (
            Mutation("tokens.float().mean(1)", "tokens[:, 1:].float().mean(1)", "the mean leaves CLS out"),
            Mutation("crop_tokens.float().amax(1)", "crop_tokens.float().mean(1)", "regions by their mean"),
        ),
    ),
    Target(
        "dsva.model.regions",
        ("test_regions",),
        (
            Mutation(".argmax(2)", ".argmin(2)", "the weakest attribute's map"),
            Mutation("concentration > threshold *", "concentration >", "no threshold"),
            Mutation("align_corners=True)\n    low", "align_corners=False)\n    low", "maps scaled between other corners"),
            Mutation("((chosen - low) / (high - low)).mean(1)", "chosen.mean(1)", "maps not brought to one range"),
            Mutation(".any(1)\n    chosen", ".all(1)\n    chosen", "a single constant map is divided by 0"),
            Mutation("places + 1", "places", "boxes a pixel short"),
            Mutation("(ends - 1 - starts)", "(ends - starts)", "crops a pixel too far"),
            Mutation("largest_component(masks & ~constant[:, None, None])", "masks & ~constant[:, None, None]", "all components"),
            Mutation(
                'padding_mode="border"', 'padding_mode="zeros"', "black borders of crops", "crops end inside, but for rounding"
            ),
        ),
    ),
    Target(
        "dsva.pixels",
        ("test_pixel_windows", "test_pixels"),
        (
            Mutation("draws[:, 3] < 0.5", "draws[:, 3] < 0.25", "a quarter is mirrored"),
            Mutation("draws[:, 4] * 4", "draws[:, 4] * 3", "never turned by 270 degrees"),
            Mutation("config.resize - size + 1", "config.resize - size", "the last place is never cropped"),
            Mutation("* 255 for values", "* 256 for values", "statistics of 256 levels"),
            Mutation("(config.resize - config.image_size) // 2", "(config.resize - config.image_size) // 2 + 1", "not the middle"),
            Mutation("antialias=True", "antialias=False", "shrunk without smoothing"),
            Mutation("config.min_scale) * draws[:, 0]", "config.min_scale) * draws[:, 1]", "scale and place hang together"),
            Mutation("np.where(mirrors, -1.0, 1.0)", "np.where(mirrors, 1.0, -1.0)", "mirrored the wrong way round"),
            Mutation("-scale * sin", "scale * sin", "a shear for a turn"),
            Mutation("(1, 2))\n", "(2, 1))\n", "copies turned the other way"),
            Mutation("0.48145466", "0.485", "another mean"),
            Mutation('padding_mode="border"', 'padding_mode="zeros"', "black borders"),
        ),
    ),
    Target(
        "shards.hashing",
        ("test_fixed_orders",),
        (
            Mutation("0xBF58476D1CE4E5B9", "0xBF58476D1CE4E5BB", "another hash"),
            Mutation("BLOCKS, WAYS, SHOTS, AUGMENT", "BLOCKS, SHOTS, WAYS, AUGMENT", "two uses of randomness change streams"),
        ),
    ),
    Target(
        "shards.order",
        ("test_fixed_orders", "test_order"),
        (
            Mutation("SHUFFLE, epoch, np.arange", "SHUFFLE, 0, np.arange", "every epoch in the same order"),
            Mutation("BLOCKS, epoch, shards", "BLOCKS, 0, shards", "every epoch in the same blocks"),
            Mutation("(rank + 1) * size // world_size", "(rank + 1) * (size // world_size)", "the last images have no rank"),
            Mutation("WAYS, step, classes", "WAYS, 0, classes", "the same classes in each episode"),
            Mutation("SHOTS, step, ids", "SHOTS, 0, ids", "the same images of a class in each episode"),
            Mutation("step + self.by", "step", "no batch is passed over"),
            Mutation("-(-len(self.ids) // self.batch_size)", "len(self.ids) // self.batch_size", "no last, short batch"),
            Mutation("if e < epoch - 1]", "if e < epoch]", "the epoch before is forgotten", "it is worked out again, the same"),
        ),
    ),
    Target(
        "dsva.evaluation.metrics",
        (FIGURES, "test_metrics"),
        (
            Mutation("gamma <= self.breaks", "gamma < self.breaks", "a tie goes to the unseen class"),
            Mutation("n_seen + unseen.argmax(axis=1)", "unseen.argmax(axis=1)", "unseen classes by the seen ones' numbers"),
            Mutation("np.mean(correct[total > 0] / total[total > 0])", "correct.sum() / total.sum()", "a mean over images"),
            Mutation("correct[total > 0] / total[total > 0]", "correct / np.maximum(total, 1)", "classes without images count"),
            Mutation("2 * np.multiply", "np.multiply", "half the harmonic mean"),
            Mutation("(totals[labels] * present)", "(len(labels) / len(set(labels)) * present)", "the curve weighs images alike"),
            Mutation("(middle if low < middle else high)", "high", "the end of the best interval"),
            Mutation("labels * n_classes + predicted", "predicted * n_classes + labels", "confusion turned over"),
            Mutation("np.trapezoid(self.seen, self.unseen)", "np.sum(self.seen[1:] * np.diff(self.unseen))", "area by lower steps"),
            Mutation("np.argmax(np.round(values, 12))", "np.flatnonzero(values == values.max())[-1]", "the last of ties"),
        ),
    ),
    Target(
        "dsva.evaluation.results",
        (FIGURES, "test_results"),
        (
            Mutation("harmonic=float(harmonic(seen, unseen))", "harmonic=(seen + unseen) / 2", "an arithmetic mean for H"),
            Mutation("gamma=gamma,\n", "gamma=best_gamma,\n", "the best gamma is called the one used"),
            Mutation("decisions.gzsl(gamma), curve", "decisions.gzsl(0.0), curve", "gamma is not used"),
            Mutation("seen, unseen = mean_accuracy", "unseen, seen = mean_accuracy", "S and U change places"),
            Mutation("zsl=mean_accuracy(alone, ", "zsl=mean_accuracy(decisions.gzsl(gamma), ", "U for ZSL"),
            Mutation("correct=correct", "correct=total", "all images of a class count as right"),
        ),
    ),
    Target(
        "dsva.evaluation.gamma",
        ("test_results",),
        (
            Mutation("fmean(gammas)", "max(gammas)", "the largest of the gammas chosen"),
            Mutation("return gzsl.best_gamma", "return gzsl.gamma", "the validation run's own gamma, not its best"),
            Mutation("return 0.0, NO_GAMMA", "return 0.1, NO_GAMMA", "some gamma where none was chosen"),
        ),
    ),
    Target(
        "dsva.evaluation.paper_protocol",
        (FIGURES,),
        (Mutation("(zsl[step], -step)", "(zsl[step], step)", "the latest of the best steps"),),
    ),
    Target(
        "dsva.evaluation.bootstrap",
        (FIGURES, "test_bootstrap"),
        (
            Mutation("(0.025, 0.975)", "(0.05, 0.95)", "intervals of 90 %"),
            Mutation("REPLICATES = 1000", "REPLICATES = 100", "a hundred replicates"),
            Mutation("_drawn(len(of_unseen), UNSEEN)", "_drawn(len(of_unseen), SEEN)", "both sides' classes drawn alike"),
            Mutation("replicates, int(label), np.arange", "replicates, 0, np.arange", "all classes draw the same slots"),
            Mutation("gamma <= decided.breaks", "gamma < decided.breaks", "a tie goes to the unseen class"),
            Mutation("_figures(unseen[:, :, 0]", "_figures(unseen[:, :, 1]", "U for ZSL"),
            Mutation("again = unseen[rows, drawn[1]]", "again = unseen", "unseen classes are not drawn"),
            Mutation("seen[rows, drawn[0]]", "seen", "seen classes are not drawn"),
        ),
    ),
)
