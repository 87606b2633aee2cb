"""Versions of schemas from one registry into another: planned, checked as a whole, then copied in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.operations.schema_check import compare, worse
from soma_cli.core.operations.schema_register import Rules, SubjectOf, compared, labelled, overruled
from soma_cli.core.ports import DEFAULT_MODE, RegisteredSchema, SchemaRegistry, same_schema
from soma_cli.core.schema_results import PromotionPlan, SubjectPromotion, VersionCopy


class Place(NamedTuple):
    """A registry, and what it calls a schema."""

    registry: SchemaRegistry
    subject_of: SubjectOf


def plan_promotion(source: Place, target: Place, names: Sequence[str], rules: Rules) -> PromotionPlan:
    """What is to be copied, and whether it may be. Changes nothing. Raises NotFound for a schema that is not there."""
    plan = PromotionPlan(source.registry.where(), target.registry.where(), True, [])
    if not names:
        raise NotFound(f"the registry {plan.source} has none of the schemas", hint="register them there first")
    for name in names:
        _refuse_same(plan, source.subject_of(name), target.subject_of(name))
        promotion = _planned(source, target, name, rules)
        plan.schemas.append(promotion)
        for copy in promotion.versions:
            plan.compatible = worse(plan.compatible, True if copy.check is None else copy.check.compatible)
    return plan


def promote(source: Place, target: Place, plan: PromotionPlan, copied: Callable[[int], None]) -> PromotionPlan:
    """Carry out a plan. A version that came to the target meanwhile is not added twice."""
    for promotion in plan.schemas:
        texts = {one.version: one.text for one in source.registry.versions(promotion.source_subject)}
        if promotion.mode_set:
            target.registry.set_mode(promotion.subject, Mode(promotion.mode))
        for copy in promotion.versions:
            if not copy.there:
                copy.becomes = _copy(target.registry, promotion.subject, texts[copy.version])
                copy.copied = True
                plan.copied += 1
                copied(1)
    plan.executed = True
    return plan


def _planned(source: Place, target: Place, name: str, rules: Rules) -> SubjectPromotion:
    source_subject, subject = source.subject_of(name), target.subject_of(name)
    versions = source.registry.versions(source_subject)
    if not versions:
        raise NotFound(
            f"{source_subject} is not in the registry {source.registry.where()}",
            hint="register it there first, with `soma schema register`",
        )
    there, mode = target.registry.versions(subject), target.registry.mode(subject)
    unasked = not there and mode is Mode.NONE
    if unasked:
        mode = _mode_to_take(source.registry.mode(source_subject))
    promotion = SubjectPromotion(name, source_subject, subject, mode.value, unasked, [])
    promotion.only_there = [
        one.version for one in there if not any(same_schema(one.text, version.text) for version in versions)
    ]
    _plan_versions(promotion, versions, there, rules)
    if there and (copy := next((copy for copy in promotion.versions if not copy.there), None)) is not None:
        text = next(one.text for one in versions if one.version == copy.version)
        opinion = target.registry.opinion(subject, text)
        copy.registry_compatible = None if opinion is None else opinion.compatible
        copy.refused = copy.refused or copy.registry_compatible is False
    return promotion


def _refuse_same(plan: PromotionPlan, source_subject: str, subject: str) -> None:
    if plan.source == plan.target and source_subject == subject:
        raise UsageError(
            f"{subject} of the registry {plan.source} would be promoted to itself",
            hint="`soma --profile NAME config show` tells where registry.url is from: the environment beats a profile",
        )


def _mode_to_take(mode: Mode) -> Mode:
    return DEFAULT_MODE if mode is Mode.NONE else mode


def _plan_versions(
    promotion: SubjectPromotion,
    versions: Sequence[RegisteredSchema],
    there: Sequence[RegisteredSchema],
    rules: Rules,
) -> None:
    """Each version in its order, checked against what is there and what is copied before it."""
    known = [(one.text, one.version) for one in there]
    mode = rules.mode or Mode(promotion.mode)
    before = compared(there, mode)
    for version in versions:
        number = next((number for text, number in known if same_schema(text, version.text)), None)
        if number is not None:
            promotion.versions.append(VersionCopy(version.version, number, True))
            continue
        new, number = labelled(version), known[-1][1] + 1 if known else 1
        check = compare(promotion.subject, new, before, mode, rules.budget)
        refused = not rules.accept(check.compatible)
        promotion.versions.append(VersionCopy(version.version, number, False, check, refused=refused))
        known.append((version.text, number))
        before.append(new)


def _copy(registry: SchemaRegistry, subject: str, text: str) -> int:
    try:
        return registry.register(subject, text).version
    except InputRejected as error:
        if error.code == "registry_incompatible":
            raise overruled(subject, error) from error
        raise
