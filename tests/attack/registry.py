"""The attacks, each with the tests that make it. ``make attack`` runs them and writes their table in docs/security.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Args:
        name: what is tried.
        asi: the risk of OWASP's Top 10 for Agentic Applications that it belongs to.
        outcome: what comes of it.
        tests: pytest's node ids, without parameters.
    """

    name: str
    asi: str
    outcome: str
    tests: tuple[str, ...]


SIGNATURES = "tests/contract/test_signatures.py::"
GARBAGE = "tests/contract/test_receiving_garbage.py::"
ORDER = "tests/contract/test_receiving_order.py::"
ACCESS = "tests/contract/test_gate_access.py::"
LABELS = "tests/contract/test_labels.py::"
VERDICTS = "tests/contract/test_verdicts.py::"
JWS = "tests/unit/signatures/test_jws.py::"
RULES = "tests/unit/verification/test_builtin_rules.py::"
SANITIZING = "tests/unit/content/test_sanitizing.py::"
REFUSALS = "tests/contract/api/test_sending.py::"
PAGES = "tests/attack/test_pages.py::"
READING = "tests/attack/test_reading.py::"
OUTPUT = "tests/attack/test_output.py::"

BROKER = (
    Attack("forge a message", "ASI07", "dead letter; the delivery it names is handled from the log", (
        SIGNATURES + "test_a_forged_copy_is_refused_and_harms_nothing",
        "tests/contract/test_gate.py::test_a_forged_copy_proves_nothing_about_its_delivery",
        GARBAGE + "test_a_delivery_that_the_log_does_not_have",
    )),
    Attack("tamper with bytes on their way", "ASI07", "dead letter; the original is handled", (
        GARBAGE + "test_a_corrupted_copy_does_not_take_the_message_with_it",
    )),
    Attack("replay", "ASI07", "nothing: handled once", (
        ORDER + "test_processed_rows_pruned_early_double_nothing",
        "tests/integration/test_retention.py::test_a_copy_of_a_message_that_is_gone_changes_nothing",
    )),
    Attack("reorder and double", "ASI07", "nothing: handled in order, once", (
        ORDER + "test_a_shuffled_and_doubled_burst_is_handled_once_and_in_order",
    )),
    Attack("swap envelopes, deliveries or workflows", "ASI07", "dead letter", (
        GARBAGE + "test_an_envelope_of_another_message_under_a_delivery_id",
        GARBAGE + "test_an_envelope_that_names_another_workflow",
        GARBAGE + "test_a_delivery_number_that_its_message_does_not_have",
    )),
    Attack("forge the relay's markers", "ASI07", "dropped", (GARBAGE + "test_a_forged_marker_is_dropped",)),
    Attack("garbage in every field and frame", "ASI08", "dead letter with its raw bytes; the worker goes on", (
        GARBAGE + "test_garbage_becomes_a_dead_letter_and_harms_nothing",
        "tests/contract/test_gate.py::test_garbage_is_stopped_by_a_step_that_raises_nothing",
        "tests/contract/brokers/test_amqp_fuzz.py::test_any_bytes_become_one_message",
    )),
    Attack("pickles and YAML objects as tasks", "ASI05", "refused unread", (
        READING + "test_a_worker_reads_no_pickles",
        READING + "test_nothing_of_the_project_unpickles_or_evaluates",
        "tests/unit/test_checks.py::test_celery",
    )),
)
KEYS = (
    Attack("key confusion: other algorithms, public key as secret", "ASI03", "refused", (
        JWS + "test_the_algorithm_is_the_key_s",
        JWS + "test_a_public_key_is_no_hmac_secret",
        JWS + "test_nothing_else_may_stand_in_the_header",
    )),
    Attack("a stolen key that was revoked", "ASI03", "refused from its revocation on", (
        SIGNATURES + "test_revocation_goes_by_the_order_of_the_log",
        SIGNATURES + "test_a_revocation_can_park_what_is_in_flight",
    )),
    Attack("speak for another agent", "ASI03", "refused on send and on receive", (
        SIGNATURES + "test_a_process_speaks_for_its_own_agents_only",
        SIGNATURES + "test_a_message_signed_by_a_process_that_may_not_is_refused",
    )),
    Attack("plant a key in the database", "ASI03", "counts for nothing", (
        SIGNATURES + "test_a_key_that_the_database_was_given_by_another_counts_for_nothing",
        SIGNATURES + "test_private_parts_are_bound_to_their_row",
    )),
)
DATABASE = (
    Attack("change rows of the log", "ASI06", "not handled; the workflow parks; nexus_verify tells", (
        SIGNATURES + "test_a_row_that_was_changed_is_not_handled_and_reported",
        SIGNATURES + "test_a_held_successor_is_verified_too",
    )),
    Attack("swap the members of a group", "ASI07", "not handled", (
        SIGNATURES + "test_a_group_whose_members_were_swapped_is_not_handled",
    )),
    Attack("write nonsense into the policy's rows", "ASI03", "nothing is handled until they are mended", (
        ACCESS + "test_rows_that_are_no_policy_stop_everything_and_kill_nothing",
    )),
    Attack("switch signatures off in one process", "ASI03", "the strictest mode holds", (
        SIGNATURES + "test_it_is_never_switched_off_silently",
    )),
)
AGENTS = (
    Attack("reach an agent through a group", "ASI03", "refused for the member", (
        ACCESS + "test_a_group_is_decided_for_each_member_and_sent_to_all_or_none",
        ACCESS + "test_a_group_message_is_refused_for_the_member_alone",
    )),
    Attack("reach an agent by a handler, or by having another forward", "ASI03", "refused: the sender's own rights count", (
        ACCESS + "test_what_a_handler_may_not_send_is_its_failure",
    )),
    Attack("use a right after it was taken away", "ASI03", "refused in the handling transaction", (
        ACCESS + "test_what_was_allowed_when_it_was_sent_is_refused_when_it_is_handled",
        ACCESS + "test_a_grant_that_goes_while_a_leased_handler_runs",
    )),
    Attack("use a timer to use a grant twice", "ASI03", "counted once", (
        ACCESS + "test_a_timer_uses_a_grant_up_once_when_it_is_due",
    )),
    Attack("schema confusion: unknown, older and newer versions", "ASI07", "error for the sender, or dead letter", (
        "tests/contract/test_gate_schemas.py::test_what_does_not_follow_its_schema_is_an_error_for_its_sender",
        "tests/contract/test_gate_schemas.py::test_what_came_and_does_not_follow_its_schema_is_a_dead_letter",
        "tests/contract/test_gate_schemas.py::test_a_version_that_is_newer_than_this_worker_waits_for_one_that_knows_it",
    )),
    Attack("kill workers with a message", "ASI08", "handled alone, attempts bounded, dead letter", (
        "tests/acceptance/test_killed_workers.py::test_a_message_that_kills_its_whole_worker_takes_no_innocent_with_it",
    )),
    Attack("kill workers through a verification rule", "ASI08", "judged alone, attempts bounded, dead letter", (
        VERDICTS + "test_a_rule_that_ends_its_process_is_bounded_and_charges_nobody_else",
        VERDICTS + "test_the_relay_asks_no_rule",
        "tests/integration/test_lifecycle.py::test_what_holds_the_interpreter_ends_its_process",
    )),
    Attack("a rule that raises, hangs or lies", "ASI04", "fails closed", (
        VERDICTS + "test_a_rule_that_fails_is_a_verdict_of_its_own_and_stops_nobody_else",
    )),
    Attack("leave the quarantine by a replay", "ASI01", "meets its verdict again", (
        VERDICTS + "test_what_is_rejected_is_a_dead_letter_that_no_replay_brings_past_it",
        VERDICTS + "test_a_replay_meets_the_verdict_again_and_other_rules_judge_anew",
    )),
    Attack("act before the verdict", "ASI01", "the verdict commits first", (
        VERDICTS + "test_twenty_deaths_leave_one_verdict_a_delivery",
        VERDICTS + "test_a_held_successor_is_judged_before_the_transaction_that_handles_it",
    )),
)
TEXT = (
    Attack("orders in text, plain and disguised", "ASI01", "quarantined where a sign matches; docs/content.md has how many", (
        RULES + "test_prompt_injection_is_found_in_disguise",
        RULES + "test_prompt_injection_in_a_key_is_found",
    )),
    Attack("impersonation in text", "ASI09", "flagged or quarantined", (RULES + "test_impersonation",)),
    Attack("claims without evidence", "ASI09", "flagged", (RULES + "test_claims",)),
    Attack("tools and addresses that nobody allowed", "ASI02", "rejected or quarantined", (
        RULES + "test_allowed_tools",
        RULES + "test_allowed_urls",
    )),
    Attack("wash labels by paraphrase, memory, group, bus or timer", "ASI06", "labels follow causes; the payment stops", (
        LABELS + "test_a_payment_stops_although_the_text_was_paraphrased",
        LABELS + "test_what_an_agent_remembers_taints_what_it_says_later",
        LABELS + "test_each_member_of_a_group_decides_for_itself",
        LABELS + "test_a_bus_within_a_handler_is_no_way_round",
        LABELS + "test_timers_keep_labels",
    )),
    Attack("hidden text: controls, ANSI, bidi, tags", "ASI01", "removed before it is stored", (
        SANITIZING + "test_hidden_characters_are_removed",
    )),
    Attack("secrets in messages", "ASI03", "redacted or refused", (
        SANITIZING + "test_secrets_are_redacted_in_values_keys_and_base64",
    )),
)
AMOUNT = (
    Attack("flood: mailboxes, loops, bursts", "ASI08", "429, limits of the workflow, the rules rate and repetition", (
        REFUSALS + "test_closed_and_full",
        REFUSALS + "test_an_empty_workflow_and_messages_into_it",
        RULES + "test_rate",
        RULES + "test_repetition_and_loops",
    )),
    Attack("oversize", "ASI08", "413, or refused with the limit", (
        REFUSALS + "test_bodies_that_are_too_large",
        "tests/unit/core/test_envelope_parse.py::test_size_is_limited",
        SANITIZING + "test_limits",
    )),
    Attack("nesting", "ASI08", "refused without recursion", (
        "tests/unit/core/test_strict_json.py::test_depth_counts_what_stands_inside_each_other",
        SANITIZING + "test_what_nests_without_end_is_refused_without_recursion",
    )),
    Attack("expansion: aliases, long numbers, hostile JSON", "ASI08", "refused in linear time", (
        READING + "test_no_document_runs_or_grows",
        "tests/unit/core/test_strict_json.py::test_hostile_texts_take_linear_time",
    )),
)
ENTRANCES = (
    Attack("YAML tags", "ASI05", "refused; nothing runs", (READING + "test_no_document_runs_or_grows",)),
    Attack("SSRF and file reads by a schema's $ref", "ASI05", "nothing is fetched", (
        "tests/unit/schemas/test_nothing_is_fetched.py::test_no_socket_is_opened",
        "tests/unit/schemas/test_nothing_is_fetched.py::test_no_file_is_opened",
        "tests/integration/test_schemas.py::test_what_is_no_schema_is_not_stored",
    )),
    Attack("SSRF by a model endpoint or an alert's address", "ASI02", "other schemes and credentials are refused", (
        "tests/integration/agents/test_llm_http.py::test_urls_that_are_refused",
        "tests/integration/test_site_settings.py::test_where_alerts_go_is_checked",
    )),
    Attack("XSS on every page of the admin and on the live page", "ASI09", "escaped; a policy without unsafe-*", (
        PAGES + "test_no_text_becomes_markup_on_any_page",
        PAGES + "test_no_text_of_the_lists_becomes_markup",
        PAGES + "test_no_text_becomes_markup_when_something_is_done",
        PAGES + "test_answers_carry_headers_and_cookies_that_protect",
        "tests/attack/test_browser.py::test_no_script_runs_on_the_main_pages",
        "tests/attack/test_browser.py::test_no_script_of_the_lists_runs_on_any_page",
        "tests/attack/test_browser.py::test_no_script_runs_on_the_live_page",
        "tests/attack/test_browser.py::test_no_script_of_the_lists_runs_on_the_live_page",
    )),
    Attack("SQL in every search box and filter", "ASI05", "no row, no error", (
        PAGES + "test_no_search_box_takes_sql",
        PAGES + "test_no_search_box_takes_sql_of_the_lists",
    )),
    Attack("nonsense and SQL in requests", "ASI05", "400", (REFUSALS + "test_malformed_bodies",)),
    Attack("requests from another site, or without the permission", "ASI03", "403", (
        "tests/contract/api/test_sending.py::test_a_session_needs_permissions_and_the_csrf_token",
        "tests/contract/api/test_callers.py::test_a_scope_opens_its_endpoints_and_no_others",
        "tests/integration/test_admin.py::test_looking_is_not_operating",
    )),
    Attack("guess a password", "ASI03", "429 after ten failures", (PAGES + "test_passwords_cannot_be_guessed",)),
    Attack("do more with a role of RabbitMQ or PostgreSQL than Nexus does", "ASI03", "refused by the server", (
        "tests/acceptance/test_roles.py::test_an_installation_works_with_the_least_roles",
    )),
    Attack("forge lines of the log", "ASI09", "one line a record, controls escaped", (
        OUTPUT + "test_no_text_forges_a_line_of_the_log",
    )),
    Attack("path traversal in archives and exports", "ASI05", "only the operator names files", (
        OUTPUT + "test_what_messages_say_chooses_no_file",
    )),
    Attack("read secrets in logs and errors", "ASI03", "none there", (
        OUTPUT + "test_no_secret_is_written",
        "tests/integration/agents/test_llm_http.py::test_the_key_shows_nowhere",
    )),
)

ATTACKS = (
    ("With access to the broker", BROKER),
    ("With keys", KEYS),
    ("With write access to the database", DATABASE),
    ("As an agent", AGENTS),
    ("By text", TEXT),
    ("By amount and shape", AMOUNT),
    ("By documents, pages and output", ENTRANCES),
)

OUT_OF_SCOPE = (
    ("deleting rows, putting back counters or older keys", "whoever may write to the database can stop everything"),
    ("code in the same process: handlers, rules, plug-ins", "Python has no boundary within a process"),
    ("a worker host that is taken over", "it holds the master key: this is the trust boundary"),
    ("reading messages on the broker or in the database whose types are not encrypted", "signatures hide nothing; use TLS and encrypted disks"),
)
