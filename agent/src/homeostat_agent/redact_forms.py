"""Credentials that are known by their form alone: the one table of them, for redaction and for the rules on patches.

Each form begins with fixed text, so that all of them together are one pattern that is decided by the
first letter of a word; the few that do not are rules of their own.
"""

from __future__ import annotations

import re

from homeostat_agent.redact_rules import KEY, Rule, by_first_letter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from homeostat_agent.record import NamedTuple


class Form(NamedTuple):
    """Credentials that begin with one of `heads` and go on with `tail`. `kind` names them to people.

    `harmless` ones (ids, keys for tests) are redacted, but may stand in a patch. Where the heads alone say
    little, `near` says more: of the head in lower case and what follows it.
    """

    kind: str
    heads: tuple[str, ...]
    tail: str
    harmless: bool = False
    near: str = ""


_WORD = "[A-Za-z0-9]"
_URLSAFE = "[A-Za-z0-9_-]"

FORMS: tuple[Form, ...] = (
    Form(
        "an AWS access key",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        "[A-Z0-9]{16,}",
    ),
    Form("an AWS id", ("AROA", "AIDA", "AGPA", "ANPA", "ANVA", "AIPA"), "[A-Z0-9]{16,}", harmless=True),
    Form("an AWS Bedrock key", ("ABSK",), "[A-Za-z0-9+/]{60,}={0,2}"),
    Form("an Amazon MWS key", ("amzn.mws.",), "[0-9a-f-]{30,}"),
    Form("an Amazon client secret", ("amzn1.oa2-cs.v1.",), "[0-9a-f]{32,}"),
    Form("an Alibaba Cloud key", ("LTAI",), f"{_WORD}{{16,}}"),
    Form("a Tencent Cloud key", ("AKID",), f"{_WORD}{{28,}}"),
    Form("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), f"{_WORD}{{20,}}"),
    Form("a GitHub token", ("github_pat_",), "[A-Za-z0-9_]{20,}"),
    Form(
        "a GitLab token",
        (
            *("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glimt-", "glagent-", "gloas-"),
            *("glffct-", "glwt-", "GR1348941"),
        ),
        "[A-Za-z0-9_.-]{16,}",
    ),
    Form(
        "a Slack token",
        ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"),
        "[A-Za-z0-9%-]{8,}",
    ),
    Form("a Slack token", ("xoxe.xox",), "[a-z]-[A-Za-z0-9-]{8,}"),
    Form("a Slack token", ("xapp-", "xwfp-"), "[0-9A-Za-z]{1,12}-[A-Za-z0-9-]{8,}"),
    Form(
        "an address to post to",
        (
            "hooks.slack.com/services/",
            "hooks.slack.com/workflows/",
            "discord.com/api/webhooks/",
            "discordapp.com/api/webhooks/",
        ),
        "[A-Za-z0-9/_-]{10,}",
    ),
    Form(
        "a Stripe key",
        ("sk_live_", "rk_live_", "rzp_live_"),
        f"{_WORD}{{8,}}",
    ),
    Form(
        "a Stripe key", ("sk_test_", "rk_test_", "pk_live_", "pk_test_", "rzp_test_"), f"{_WORD}{{8,}}", harmless=True
    ),
    Form("a webhook's secret", ("whsec_",), "[A-Za-z0-9+/=]{16,}"),
    Form("a payment provider's key", ("shippo_live_", "duffel_live_"), "[A-Za-z0-9_=-]{30,}"),
    Form("a payment provider's key", ("FLWSECK-", "FLWSECK_TEST-"), "[A-Za-z0-9-]{12,}"),
    Form("a payment provider's key", ("EZAK", "EZTK"), f"{_WORD}{{54,}}"),
    Form(
        "a payment provider's key", ("access_token$production$", "access_token$sandbox$"), "[0-9a-z]{8,}\\$[0-9a-f]{32}"
    ),
    Form(
        "a model provider's key",
        ("sk-ant-", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-", "sk-lf-"),
        f"{_URLSAFE}{{8,}}",
    ),
    Form("a model provider's key", ("sk-",), f"{_WORD}{{20,}}"),
    Form("a model provider's key", ("gsk_", "hf_", "r8_", "fw_", "xai-", "pplx-"), f"{_WORD}{{20,}}"),
    Form("a Google API key", ("AIza",), f"{_URLSAFE}{{30,}}"),
    Form("a Google token", ("ya29.", "GOCSPX-", "1//0"), f"{_URLSAFE}{{20,}}"),
    Form("a JSON web token", ("eyJ",), "[A-Za-z0-9_-]{15,}(?:\\.[A-Za-z0-9_.-]*)?"),
    Form("a SendGrid key", ("SG.",), f"{_URLSAFE}{{16,32}}\\.{_URLSAFE}{{16,}}"),
    Form("a Brevo key", ("xkeysib-", "xsmtpsib-"), "[A-Za-z0-9-]{40,}"),
    Form("a Resend key", ("re_",), f"{_WORD}{{8}}_{_WORD}{{16,}}"),
    Form("a Twilio key", ("AC", "SK"), "[0-9a-f]{32}\\b", near="(?:ac|sk)[0-9a-f]{32}"),
    Form("a Mailgun key", ("key-",), "[0-9a-f]{32}\\b"),
    Form("a package registry's token", ("npm_",), f"{_WORD}{{30,}}"),
    Form("a package registry's token", ("pypi-",), f"{_URLSAFE}{{40,}}"),
    Form("a package registry's token", ("rubygems_", "dckr_pat_", "dckr_oat_"), f"{_URLSAFE}{{24,}}"),
    Form("a package registry's token", ("CLOJARS_",), "[a-z0-9]{50,}"),
    Form("a package registry's token", ("oy2",), "[a-z0-9]{43}\\b"),
    Form("a JFrog key", ("AKCp",), f"{_WORD}{{50,}}"),
    Form("a JFrog key", ("cmVmdGtu",), f"{_WORD}{{50,}}"),
    Form("a DigitalOcean token", ("dop_v1_", "doo_v1_", "dor_v1_"), "[0-9a-f]{32,}"),
    Form("a Shopify token", ("shpat_", "shpca_", "shppa_", "shpss_"), "[0-9A-Fa-f]{20,}"),
    Form("a Square token", ("sq0atp-", "sq0csp-", "sq0idp-", "sq0isp-"), f"{_URLSAFE}{{20,}}"),
    Form("a Facebook or Square token", ("EAA",), f"{_URLSAFE}{{30,}}"),
    Form(
        "a Discord token",
        ("M", "N", "O"),
        f"{_URLSAFE}{{23,27}}\\.{_URLSAFE}{{6}}\\.{_URLSAFE}{{27,}}",
        near="[mno][a-z0-9_-]{23,27}\\.",
    ),
    Form("a Databricks token", ("dapi",), "[0-9a-f]{32}"),
    Form("a Doppler token", ("dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."), "[A-Za-z0-9._-]{20,}"),
    Form("a Vault token", ("hvs.", "hvb.", "hvr."), f"{_URLSAFE}{{20,}}"),
    Form("a Grafana token", ("glsa_", "glc_"), "[A-Za-z0-9_+/=]{30,}"),
    Form(
        "a service's token",
        (
            *("lin_api_", "ntn_", "rdme_", "sntrys_", "sntryu_", "figd_", "nfp_", "napi_", "tfp_", "waka_"),
            *("bkua_", "CCIPAT_", "CCIPRJ_", "pnu_", "CFPAT-", "pul-", "ico-", "fio-u-", "p8e-", "HRKU-"),
        ),
        f"{_URLSAFE}{{30,}}",
    ),
    Form("a service's token", ("secret_",), f"{_WORD}{{30,}}"),
    Form("a service's token", ("squ_", "sqp_", "sqa_"), "[0-9a-f]{40}"),
    Form("a service's token", ("pscale_tkn_", "pscale_pw_", "pscale_oauth_"), "[A-Za-z0-9_.=-]{30,}"),
    Form("a service's token", ("fm1r_", "fm2_", "fo1_"), "[A-Za-z0-9_+/=-]{40,}"),
    Form("a service's token", ("sbp_", "vcp_", "tskey-"), f"{_URLSAFE}{{24,}}"),
    Form("a service's token", ("dt0c01.", "dt0s01."), f"{_WORD}{{20,}}\\.{_WORD}{{40,}}"),
    Form("a service's token", ("pat-na1-", "pat-eu1-", "pat-na2-"), "[0-9A-Fa-f-]{30,}"),
    Form("an Airtable token", ("pat",), f"{_WORD}{{14}}\\.[0-9a-f]{{60,}}", near="pat[a-z0-9]{14}\\."),
    Form("a Dropbox token", ("sl.",), f"{_URLSAFE}{{100,}}"),
    Form("a Plaid token", ("access-production-", "access-sandbox-", "access-development-"), "[0-9a-f-]{30,}"),
    Form("a Postman key", ("PMAK-",), "[0-9a-f]{20,}-[0-9a-f]{20,}"),
    Form("a New Relic key", ("NRAK-", "NRJS-", "NRII-", "NRRA-"), f"{_URLSAFE}{{16,}}"),
    Form("an Atlassian token", ("ATAT", "ATCT", "ATBB"), "[A-Za-z0-9_=-]{24,}"),
    Form("an age key", ("AGE-SECRET-KEY-1",), "[A-Z0-9]{20,}"),
    Form("a token of this system", ("hst_",), f"{_URLSAFE}{{20,}}"),
)


_JOINED = by_first_letter(re.escape(head) + form.tail for form in FORMS for head in form.heads)
_HEADS = sorted({form.near or re.escape(head.lower()) for form in FORMS for head in form.heads})
_NEAR = (
    r"(?:(?<![a-z0-9])|(?<=\\[nrt]))(?:"
    + "|".join(head for head in _HEADS if not head[0].isalnum())
    + "|"
    + by_first_letter(head for head in _HEADS if head[0].isalnum())
    + ")"
)
"""The heads alone: what is compiled for every text has to be compiled quickly."""


def _key(match: re.Match[str]) -> str:
    return KEY


def _after_head(match: re.Match[str]) -> str:
    return match.group(1) + KEY


FORM_RULES: tuple[Rule, ...] = (
    Rule("known-form", rf"\b(?:{_JOINED})", _key, near=_NEAR),
    # After an underscore, and after the letter of an escape: `KEY_ghp_...`, `"...\nAKIA..."`.
    Rule("known-form-glued", rf"(_|\\[nrt])(?:{_JOINED})", _after_head, ("_", "\\"), near=_NEAR),
    Rule("mailchimp", r"(\b|\\[nrt])[0-9a-f]{32}-us[0-9]{1,2}\b", _after_head, ("-us",)),
    Rule("telegram", r"(\b|\\[nrt])[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", _after_head, (":aa",)),
    Rule("azure-secret", r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", _key, ("q~",)),
    Rule("terraform", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{30,}", _key, (".atlasv1.",)),
    Rule("firebase", r"\bAAAA[A-Za-z0-9_-]{7}:[A-Za-z0-9_-]{100,}", _key, ("aaaa",)),
    Rule(
        "password-hash",
        r"\$(?:2[abxy]|1|5|6|y|apr1|argon2id?|pbkdf2[a-z0-9-]{0,12})\$[A-Za-z0-9./$=,+-]{20,}",
        _key,
        ("$",),
        near=r"\$(?:2[abxy]|1|5|6|y|apr1|argon2|pbkdf2)[^$]{0,16}\$",
    ),
)
