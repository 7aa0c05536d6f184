"""The direct tools, which answer one question each about deals and competitors."""
