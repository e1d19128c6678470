"""The benchmark's mappings on a few made-up rows of the published shapes: what they say of whom, and when."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import pytest

from serving.importing.service import import_history
from tests.benchmarks.public_sets import BANK, CDNOW, TELCO, PublicSet, with_moments_of_calls

PURCHASES = """customer_id,date,quantity,amount_usd
00001,1997-01-01,1,11.77
00002,1997-01-12,1,12.0
00002,1997-01-12,1,12.0
"""
CUSTOMERS = """customerID,gender,SeniorCitizen,Partner,Dependents,tenure,PhoneService,MultipleLines,InternetService,\
OnlineSecurity,OnlineBackup,DeviceProtection,TechSupport,StreamingTV,StreamingMovies,Contract,PaperlessBilling,\
PaymentMethod,MonthlyCharges,TotalCharges,Churn
A,Female,0,Yes,Yes,2,Yes,No,DSL,No,Yes,No,Yes,Yes,No,One year,Yes,Mailed check,65.6,131.2,No
B,Male,1,No,No,0,Yes,No,DSL,No,Yes,No,Yes,Yes,No,Two year,Yes,Mailed check,20.5,20.5,Yes
"""
CALL = (
    "{row},56,housemaid,married,basic.4y,no,no,no,telephone,{month},mon,261,1,{pdays},0,nonexistent,1.1,93.994,-36.4,\
4.857,5191.0,{y}\n"
)
CALLS = """row,age,job,marital,education,default,housing,loan,contact,month,day_of_week,duration,campaign,pdays,\
previous,poutcome,emp.var.rate,cons.price.idx,cons.conf.idx,euribor3m,nr.employed,y
""" + "".join(
    CALL.format(row=row, month=month, pdays=pdays, y=y)
    for row, month, pdays, y in [
        (1, "may", 999, "no"),
        (2, "may", 6, "yes"),
        (3, "dec", 999, "no"),
        (4, "mar", 3, "no"),
    ]
)


@pytest.fixture
def run(database, tenant, tmp_path: Path):
    """Imports the text as the published file of a set; answers rows of the tenant's."""

    def load(public: PublicSet, text: str) -> None:
        source, folder = tmp_path / "source", tmp_path / "unpacked"
        source.mkdir()
        folder.mkdir()
        name = {CDNOW.name: "cdnow_master", TELCO.name: "telco_churn", BANK.name: "bank-additional-full"}[public.name]
        (source / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        variables = {"data": str(public.unpack(source, folder))}
        now = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
        import_history(database.worker, tenant, public.mapping, now, phone_key="t", variables=variables, strict=True)

    return load


def day(year: int, month: int, number: int) -> dt.datetime:
    return dt.datetime(year, month, number, tzinfo=dt.UTC)


class TestPublicSets:
    def test_purchases_alike_in_everything_are_two_orders(self, run, rows):
        run(CDNOW, PURCHASES)
        bought = rows("SELECT total_cents, ordered_at FROM orders WHERE tenant_id = %(tenant)s ORDER BY ordered_at, 1")
        assert bought == [(1177, day(1997, 1, 1)), (1200, day(1997, 1, 12)), (1200, day(1997, 1, 12))]

    def test_who_stayed_pays_again_on_the_day_of_the_snapshot(self, run, rows):
        run(TELCO, CUSTOMERS)
        paid = rows("""SELECT c.custom_data->>'contract', o.total_cents, o.ordered_at FROM orders o
            JOIN contacts c ON c.id = o.contact_id WHERE o.tenant_id = %(tenant)s ORDER BY 1, 3""")
        assert paid == [
            ("One year", 6560, day(2026, 5, 4)),
            ("One year", 6560, day(2026, 6, 1)),
            ("Two year", 2050, day(2026, 5, 4)),
        ]
        known = rows("SELECT known_at FROM contacts WHERE tenant_id = %(tenant)s ORDER BY 1")
        assert known == [(day(2026, 3, 4),), (day(2026, 5, 4),)]

    def test_a_call_is_a_message_of_its_month_and_its_length_is_unknown(self, run, rows):
        run(BANK, CALLS)
        called = rows("""SELECT k.name, m.timestamp, c.custom_data ? 'duration',
                (c.custom_data->>'days_since_campaign_before')::float8
            FROM messages m JOIN campaigns k ON k.id = m.campaign_id JOIN contacts c ON c.id = m.contact_id
            WHERE m.tenant_id = %(tenant)s ORDER BY m.timestamp""")
        assert [(name[-7:], *rest) for name, _, *rest in called] == [
            ("2008-05", False, None), ("2008-05", False, 6), ("2008-12", False, None), ("2009-03", False, 3),
        ]  # fmt: skip
        redeemed = rows("""SELECT r.occurred_at - m.timestamp FROM conversions r
            JOIN messages m ON m.contact_id = r.contact_id WHERE r.tenant_id = %(tenant)s""")
        assert redeemed == [(dt.timedelta(hours=1),)]

    def test_the_calls_of_a_month_are_spread_over_it(self, tmp_path):
        (tmp_path / "calls.csv.gz").write_bytes(gzip.compress(CALLS.encode()))
        lines = (with_moments_of_calls(tmp_path, tmp_path) / "calls.csv").read_text().splitlines()
        assert [line.rsplit(",", 2)[1:] for line in lines[1:]] == [
            ["2008-05", "2008-05-10 08:00:00"],
            ["2008-05", "2008-05-19 16:00:00"],
            ["2008-12", "2008-12-15 00:00:00"],
            ["2009-03", "2009-03-15 00:00:00"],
        ]
