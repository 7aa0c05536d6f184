"""Which product wrote a file, by headings that no other one writes."""

from collections.abc import Sequence

from hindsight_async.cli.contacts.columns import heading_of
from hindsight_async.cli.results import are_results

RESULTS = "results of an earlier run"
"""What a file is called that a run of this program wrote."""

PRODUCTS = (
    ("HubSpot deals export", "recordid dealname dealstage"),
    ("HubSpot contacts export", "recordid contactowner"),
    ("HubSpot contacts export", "recordid additionalemailaddresses"),
    ("HubSpot contacts export", "recordid leadstatus"),
    ("HubSpot contacts export", "recordid firstname lastname email"),
    ("HubSpot contacts export", "iddefichedinformations email"),
    ("HubSpot contacts export", "datensatzid emailadresse"),
    ("HubSpot contacts export", "iddoregistro email"),
    ("HubSpot contacts export", "idderegistro correo"),
    ("Salesforce export", "accountid lastname"),
    ("Salesforce leads", "companyaccount leadsource"),
    ("Salesforce report", "opportunityname stage"),
    ("Salesforce report", "accountname email"),
    ("Outreach prospects export", "prospectid"),
    ("Salesloft people export", "personstage"),
    ("Gong calls export", "callid calltitle"),
    ("Apollo contacts export", "apollocontactid"),
    ("Apollo contacts export", "companynameforemails"),
    ("Google Contacts export", "email1value"),
    ("Outlook contacts", "emailaddress email2address"),
)
"""Products, each by headings that stand in its files together, as `heading_of` makes them; the first that fits counts."""

_PIPEDRIVE = ("Person - ", "Deal - ", "Organization - ")
"""What Pipedrive writes before a heading, in a list's export."""


def product_of(columns: Sequence[str]) -> str | None:
    """Return what a file with these columns is, None where that cannot be told."""
    if are_results(columns):
        return RESULTS
    if any(column.startswith(_PIPEDRIVE) for column in columns):
        return "Pipedrive export"
    headings = {heading_of(column) for column in columns}
    return next((name for name, telling in PRODUCTS if headings.issuperset(telling.split())), None)
