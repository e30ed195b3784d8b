"""What the sandbox PSP remembers: its charges, what happened to them, and its canceled keys. Pure.

State changes through ``apply(record)`` alone, so a replay of the log gives the same. A million charges
fit in about 0.5 GB: compact structs outside the garbage collector's reach; references are computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import merge
from uuid import UUID

import msgspec

from payments.defects import InvariantViolation
from psp.simulator.behaviour import digest_of_key, digest_of_reference, reference_of_digest
from psp.simulator.charges import Change, Charge
from psp.simulator.fees import SettlementFee
from psp.simulator.page_sessions import PageSessions
from psp.simulator.records import BurnRecord, ChangeRecord, ChargeRecord, Record
from psp.simulator.wire import (
    NOT_CONFIRMED,
    ChangeKind,
    ChargeStatus,
    CurrencyTotals,
    OracleRow,
    SettlementRow,
    Totals,
    instant,
)

_IN_ORACLE = frozenset(
    {ChargeStatus.CAPTURED, ChargeStatus.AUTHORIZED, ChargeStatus.DECLINED, ChargeStatus.VOIDED}
)


class SandboxState:
    """Charges, changes and canceled keys, found by key or by reference."""

    def __init__(self, *, seed: int, fee: SettlementFee = SettlementFee()) -> None:  # noqa: B008
        self.seed = seed
        self._fee = fee
        self.last_at_ms = 0
        self._charges: dict[bytes, Charge] = {}
        self._oracle: list[Charge] = []
        # By key, until the buyer has decided: they are in the oracle only after that.
        self._waiting: dict[str, Charge] = {}
        self._changes: dict[bytes, Change] = {}
        self._burned: set[bytes] = set()
        # Last change of the few charges that changed after they were made, oldest change first.
        self._changed_at_ms: dict[str, int] = {}
        # Of the same charges: which of all changes was their last one.
        self._changed_n: dict[str, int] = {}
        self._changes_count = 0
        # One shared string for each name that repeats in every charge.
        self._merchants: dict[str, str] = {}
        self._currencies: dict[str, str] = {}
        self._by_status: Counter[ChargeStatus] = Counter()
        self._by_currency: dict[str, CurrencyTotals] = {}
        self.pages: PageSessions[Charge] = PageSessions()

    def charge_of_key(self, key: str) -> Charge | None:
        return self._charges.get(digest_of_key(self.seed, key))

    def charge_of_reference(self, reference: str) -> Charge | None:
        digest = digest_of_reference(reference)
        return None if digest is None else self._charges.get(digest)

    def change_of_key(self, key: str) -> Change | None:
        return self._changes.get(digest_of_key(self.seed, key))

    def is_burned(self, key: str) -> bool:
        return digest_of_key(self.seed, key) in self._burned

    def reference_of(self, charge: Charge) -> str:
        return reference_of_digest(digest_of_key(self.seed, charge.key))

    def apply(self, record: Record) -> None:
        """Take one durable record in. Raises InvariantViolation if it contradicts the state."""
        if isinstance(record, ChargeRecord):
            self._apply_charge(record)
        elif isinstance(record, ChangeRecord):
            self._apply_change(record)
        elif isinstance(record, BurnRecord):
            self._apply_burn(record)
        else:
            return
        self.last_at_ms = max(self.last_at_ms, record.at_ms)

    def _apply_charge(self, record: ChargeRecord) -> None:
        digest = digest_of_key(self.seed, record.key)
        if digest in self._charges or digest in self._burned or digest in self._changes:
            raise InvariantViolation(f"a second charge under the key {record.key}")
        charge = Charge(
            key=record.key,
            merchant=self._merchants.setdefault(record.merchant, record.merchant),
            order_key=None if record.order_key is None else record.order_key.bytes,
            amount_minor=record.amount,
            currency=self._currency(record.currency),
            status=ChargeStatus.REQUIRES_ACTION,
            decline_code=record.decline_code,
            captures_at_once=record.capture,
            fingerprint=record.fingerprint,
            refuses_until_ms=record.refuses_until_ms,
            at_ms=record.at_ms,
            denial=record.denial,
        )
        self._charges[digest] = charge
        self.pages.note(charge, record.hosted)
        self._by_status[charge.status] += 1
        self._waiting[charge.key] = charge
        if record.status is not ChargeStatus.REQUIRES_ACTION:
            self._move(charge, record.status)
        if record.status is ChargeStatus.CAPTURED:
            self._add_capture(charge, charge.amount_minor)

    def _apply_change(self, record: ChangeRecord) -> None:
        charge = self.charge_of_key(record.charge_key)
        if charge is None:
            raise InvariantViolation(f"a change of an unknown charge, key {record.charge_key}")
        if record.key is not None:
            self._keep_change(charge, record.key, record)
        if record.refusal is not None:
            return
        self._alter(charge, record)
        self._changed_at_ms.pop(charge.key, None)
        self._changed_at_ms[charge.key] = record.at_ms
        self._changes_count += 1
        self._changed_n[charge.key] = self._changes_count

    def _keep_change(self, charge: Charge, key: str, record: ChangeRecord) -> None:
        change = Change(
            charge=charge,
            key=key,
            kind=record.kind,
            amount_minor=record.amount,
            fingerprint=record.fingerprint,
            refusal=record.refusal,
            at_ms=record.at_ms,
        )
        digest = digest_of_key(self.seed, key)
        if digest in self._charges or digest in self._burned or digest in self._changes:
            raise InvariantViolation(f"a second use of the key {key}")
        self._changes[digest] = change

    def _alter(self, charge: Charge, record: ChangeRecord) -> None:
        match record.kind:
            case ChangeKind.CAPTURE:
                self._move(charge, ChargeStatus.CAPTURED)
                self._add_capture(charge, record.amount)
            case ChangeKind.COMPLETE if charge.captures_at_once:
                self._move(charge, ChargeStatus.CAPTURED)
                self._add_capture(charge, charge.amount_minor)
            case ChangeKind.COMPLETE:
                self._move(charge, ChargeStatus.AUTHORIZED)
            case ChangeKind.FAIL:
                charge.decline_code = record.decline_code or NOT_CONFIRMED
                self._move(charge, ChargeStatus.DECLINED)
            case ChangeKind.VOID if charge.captured_minor > 0:
                charge.is_released = True
            case ChangeKind.VOID:
                self._move(charge, ChargeStatus.VOIDED)
            case ChangeKind.CANCEL:
                self._move(charge, ChargeStatus.CANCELED)
            case ChangeKind.REFUND:
                self._add_refund(charge, record.amount)
            case kind:
                self._alter_dispute(charge, kind, record.amount)

    def _alter_dispute(self, charge: Charge, kind: ChangeKind, amount_minor: int) -> None:
        charge.dispute = kind
        if kind is ChangeKind.DISPUTE:
            charge.disputed_minor = amount_minor
        elif kind is ChangeKind.DISPUTE_LOST:
            self._by_currency[charge.currency].charged_back += charge.disputed_minor

    def _apply_burn(self, record: BurnRecord) -> None:
        digest = digest_of_key(self.seed, record.key)
        if digest in self._charges or digest in self._changes:
            raise InvariantViolation(f"the used key {record.key} can't be burned")
        self._burned.add(digest)

    def _move(self, charge: Charge, status: ChargeStatus) -> None:
        if charge.status not in _IN_ORACLE and status in _IN_ORACLE:
            self._oracle.append(charge)
        self._waiting.pop(charge.key, None)
        self._by_status[charge.status] -= 1
        self._by_status[status] += 1
        charge.status = status

    def _add_capture(self, charge: Charge, amount_minor: int) -> None:
        before_minor = charge.captured_minor
        captured_minor = before_minor + amount_minor
        if captured_minor > charge.amount_minor:
            raise InvariantViolation(f"more captured than authorized, key {charge.key}")
        # The very same integer object where all of it is captured: no second one to store.
        is_whole = captured_minor == charge.amount_minor
        charge.captured_minor = charge.amount_minor if is_whole else captured_minor
        totals = self._by_currency[charge.currency]
        totals.captured += amount_minor
        totals.fee += self._fee.of(captured_minor)
        if before_minor:
            totals.fee -= self._fee.of(before_minor)

    def _add_refund(self, charge: Charge, amount_minor: int) -> None:
        charge.refunded_minor += amount_minor
        if charge.refunded_minor > charge.captured_minor:
            raise InvariantViolation(f"more refunded than captured, key {charge.key}")
        self._by_currency[charge.currency].refunded += amount_minor

    def _currency(self, currency: str) -> str:
        """Return the one stored copy of a currency code."""
        if currency not in self._by_currency:
            self._by_currency[currency] = CurrencyTotals()
        return self._currencies.setdefault(currency, currency)

    # -- what others may read --------------------------------------------------------------------

    def oracle_rows(self, after: int = 0) -> Iterator[OracleRow]:
        """Yield the oracle's rows whose ``n`` exceeds ``after``, also those added meanwhile."""
        n = max(after, 0)
        while n < len(self._oracle):
            charge = self._oracle[n]
            n += 1
            yield OracleRow(
                n=n,
                reference=self.reference_of(charge),
                key=charge.key,
                merchant=charge.merchant,
                order_key=None if charge.order_key is None else str(UUID(bytes=charge.order_key)),
                amount=charge.amount_minor,
                currency=charge.currency,
                status=charge.status,
                captured=charge.captured_minor,
                refunded=charge.refunded_minor,
                at=instant(charge.at_ms),
                charged_back=charge.charged_back_minor,
                changed=self._changed_n.get(charge.key, 0),
            )

    def waiting(self) -> Iterator[Charge]:
        """Yield the charges that wait for the buyer, newest first."""
        return reversed(self._waiting.values())

    def settlement_rows(self, since_ms: int) -> Iterator[SettlementRow]:
        """Yield charges that moved money, made or changed since then, oldest movement first."""
        changed = dict(self._changed_at_ms)
        untouched = (
            (row.at_ms, n, row) for n, row in enumerate(self._oracle) if row.key not in changed
        )
        later = (
            (at_ms, -1, self._charges[digest_of_key(self.seed, key)])
            for key, at_ms in changed.items()
        )
        for at_ms, _, charge in merge(untouched, later, key=lambda item: item[0]):
            if at_ms < since_ms or charge.captured_minor == 0:
                continue
            yield SettlementRow(
                reference=self.reference_of(charge),
                key=charge.key,
                merchant=charge.merchant,
                order_key=None if charge.order_key is None else UUID(bytes=charge.order_key),
                amount=charge.amount_minor,
                captured=charge.captured_minor,
                refunded=charge.refunded_minor,
                fee=self._fee.of(charge.captured_minor),
                currency=charge.currency,
                status=charge.status,
                at=instant(at_ms),
            )

    def totals(self) -> Totals:
        return Totals(
            charges=len(self._oracle),
            by_status={status.value: self._by_status[status] for status in ChargeStatus},
            by_currency={
                currency: msgspec.structs.replace(sums)
                for currency, sums in sorted(self._by_currency.items())
            },
            canceled_keys=len(self._burned) + self._by_status[ChargeStatus.CANCELED],
            changes=self._changes_count,
        )
