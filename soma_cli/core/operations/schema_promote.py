"""Versions of schemas from one registry into another: planned, checked as a whole, then copied in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import CheckFailed, InputRejected, NotFound, UsageError
from soma_cli.core.operations.schema_check import compare, compared, labelled, worse
from soma_cli.core.operations.schema_register import Rules, SubjectOf, overruled
from soma_cli.core.ports import DEFAULT_MODE, RegisteredSchema, SchemaRegistry, VersionsChanged, same_schema
from soma_cli.core.schema_results import PromotionPlan, SubjectPromotion, VersionCopy


class Place(NamedTuple):
    """A registry, and what it calls a schema."""

    registry: SchemaRegistry
    subject_of: SubjectOf


class Side(NamedTuple):
    """A registry, and the versions that it has of one subject."""

    registry: SchemaRegistry
    versions: Sequence[RegisteredSchema]

    def number_of(self, schema: RegisteredSchema) -> int | None:
        """That of the version which is the same schema."""
        return next((one.version for one in self.versions if same_schema(one.text, schema.text)), None)


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
    """Carry out a plan. A version that came to the target meanwhile is not added twice.

    Raises NotFound where a version is gone from the source, CheckFailed where the target has got others meanwhile.
    """
    for promotion in plan.schemas:
        texts = _texts(source, promotion)
        if promotion.mode_set:
            target.registry.set_mode(promotion.subject, Mode(promotion.mode))
        for copy in promotion.versions:
            if copy.wanted:
                _copy(target.registry, promotion, copy, texts[copy.version])
                plan.copied += 1
                copied(1)
    plan.executed = True
    return plan


def _texts(source: Place, promotion: SubjectPromotion) -> dict[int, str]:
    texts = {one.version: one.text for one in source.registry.versions(promotion.source_subject)}
    gone = [copy.version for copy in promotion.versions if copy.wanted and copy.version not in texts]
    if gone:
        raise NotFound(
            f"version {gone[0]} of {promotion.source_subject} is no longer in the registry {source.registry.where()}",
            hint="run it again: it is planned anew",
        )
    return texts


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
    _plan_versions(promotion, Side(source.registry, versions), Side(target.registry, there), rules)
    if there and (copy := next((copy for copy in promotion.versions if copy.wanted), None)) is not None:
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


def _plan_versions(promotion: SubjectPromotion, source: Side, target: Side, rules: Rules) -> None:
    """Each version in its order, checked against what is there and what is copied before it. What is older than the
    newest that is there is passed over: copied now, it would be the latest."""
    there = [target.number_of(version) for version in source.versions]
    old = max((count for count, number in enumerate(there, 1) if number is not None), default=0)
    for version, number in zip(source.versions[:old], there, strict=False):
        promotion.versions.append(VersionCopy(version.version, number, number is not None, passed_over=number is None))
    _plan_new(promotion, Side(source.registry, source.versions[old:]), target, rules)


def _plan_new(promotion: SubjectPromotion, source: Side, target: Side, rules: Rules) -> None:
    mode = rules.mode or Mode(promotion.mode)
    before = compared(target.versions, mode, target.registry.where())
    next_number = target.versions[-1].version + 1 if target.versions else 1
    for number, version in enumerate(source.versions, next_number):
        new = labelled(version, source.registry.where())
        check = compare(promotion.subject, new, before, mode, rules.budget)
        refused = not rules.accept(check.compatible)
        promotion.versions.append(VersionCopy(version.version, number, False, check, refused=refused))
        before.append(new)


def _copy(registry: SchemaRegistry, promotion: SubjectPromotion, copy: VersionCopy, text: str) -> None:
    try:
        copy.becomes = registry.register(promotion.subject, text, _last(promotion, copy)).version
    except VersionsChanged as error:
        raise CheckFailed(
            f"version {copy.version} of {promotion.source_subject} was not copied: {registry.where()} has got "
            f"a version of {promotion.subject} meanwhile that it was not checked against",
            hint="run it again: it is planned anew",
            code="registry_changed",
        ) from error
    except InputRejected as error:
        if error.code == "registry_incompatible":
            raise overruled(promotion.subject, error) from error
        raise
    copy.copied = True


def _last(promotion: SubjectPromotion, copy: VersionCopy) -> int:
    """The last version of the subject, by what was seen of it: what this run copied, or what was planned."""
    done = [one.becomes for one in promotion.versions if one.copied and one.becomes is not None]
    assert copy.becomes is not None
    return done[-1] if done else copy.becomes - 1
