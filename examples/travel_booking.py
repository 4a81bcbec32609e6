"""A trip over three agents: flight, hotel and payment are all booked, or none is.

One traveller's card is refused: what was booked for him is undone, the hotel first. Then everything is killed in the
middle of another booking and started again: it goes on where it was. The last trip is booked by the same saga and the
same agents in this process, without any server.

    python examples/travel_booking.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.harness.embedded import prepare, running

prepare(__file__)

from messaging.api import CommunicationBus, HandlerKind, Participant, Saga, Sagas, SagaView, StepFailed, StepRequest

flights = Participant("flights").register()
hotels = Participant("hotels", kind=HandlerKind.LEASED).register()  # it calls out, so it is slow
payments = Participant("payments").register()


@flights.does("flight.book")
def book_flight(request: StepRequest) -> dict[str, str]:
    return {"seat": "12A", "to": request.input["to"]}


@flights.undoes("flight.cancel")
def cancel_flight(request: StepRequest) -> None:
    print(f"    seat {request.result['seat']} is free again")


@hotels.does("hotel.book")
def book_hotel(request: StepRequest) -> dict[str, int]:
    time.sleep(request.input.get("slow", 0))
    return {"room": 7, "price": 120 * request.input["nights"]}


@hotels.undoes("hotel.cancel")
def cancel_hotel(request: StepRequest) -> None:
    print("    the room is free again")


@payments.does("payment.take")
def take_payment(request: StepRequest) -> dict[str, int]:
    amount = 200 + request.results.get("hotel", {}).get("price", 0)
    if amount > request.input["limit"]:
        raise StepFailed(f"the card is refused: {amount} EUR")
    return {"paid": amount}


BOOKING = (
    Saga("booking")
    .step("flight", do=("flights", "flight.book"), undo=("flights", "flight.cancel"))
    .step("hotel", do=("hotels", "hotel.book"), undo=("hotels", "hotel.cancel"), when=("input.nights", ">", 0))
    .step("payment", do=("payments", "payment.take"), pivot=True)  # the last: nothing has to be undone behind it
)


def show(name: str, view: SagaView) -> None:
    """One line for a trip."""
    print(f"{name}: {view.status} {view.reason or view.results['payment']}  {view.steps}")


def main() -> None:
    """Book trips."""
    with running(__file__) as nexus:
        sagas = Sagas(nexus.bus)
        rome = sagas.start(BOOKING, {"to": "Rome", "nights": 2, "limit": 1_000})
        oslo = sagas.start(BOOKING, {"to": "Oslo", "nights": 9, "limit": 1_000})
        show("Rome", sagas.wait(rome, timeout=60))
        show("Oslo", sagas.wait(oslo, timeout=60))

        bern = sagas.start(BOOKING, {"to": "Bern", "nights": 1, "limit": 1_000, "slow": 1})
        deadline = time.monotonic() + 60
        while sagas.status(bern).steps["hotel"] != "doing" and time.monotonic() < deadline:
            time.sleep(0.05)
        print("The hotel is being booked. Killing the worker and the relay …")
        nexus.kill()
        nexus.start()
        show("Bern", sagas.wait(bern, timeout=60))
        print("What happened to Oslo:", " ".join(f"{line.event}({line.step})" for line in sagas.journal(oslo)))

    legacy = Sagas(CommunicationBus())
    print("And in this process:")
    show("Genoa", legacy.wait(legacy.start(BOOKING, {"to": "Genoa", "nights": 0, "limit": 1_000}), timeout=5))
    show("Lima", legacy.wait(legacy.start(BOOKING, {"to": "Lima", "nights": 7, "limit": 1_000}), timeout=5))


if __name__ == "__main__":
    main()
