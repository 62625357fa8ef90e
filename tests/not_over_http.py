"""What the shared tests ask of a store that cannot be asked over HTTP, by test, with the reason."""

import pytest

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "what is resolved is a copy, and not the file that was registered": (
        "test_a_blob_registered_by_its_path_is_the_same_file",
        "test_a_file_name_that_is_not_unicode_is_a_file_name",
        "test_a_file_of_two_scopes_goes_with_the_last",
        "test_a_held_file_that_is_registered_again_lives_on",
        "test_a_path_that_would_break_a_tag_is_written_as_an_uri",
        "test_a_relative_path_means_the_file_it_meant_when_it_was_stored",
        "test_a_shared_file_outlives_the_scope_it_came_in",
        "test_a_stored_file_is_neither_moved_nor_copied",
        "test_an_absolute_path_is_given_back_exactly",
        "test_erasing_is_refused_while_a_lease_holds_a_file_and_changes_nothing",
        "test_many_files_are_registered_where_they_lie",
        "test_meta_comes_back_exactly_as_stored",
        "test_old_refs_end_across_scopes_and_their_files_go",
        "test_releasing_a_scope_ends_its_refs_and_deletes_its_files",
        "test_releasing_a_symlink_removes_the_link_and_not_its_target",
        "test_resolving_and_storing_elsewhere_do_not_wait_for_a_slow_deletion",
        "test_the_stores_own_files_cannot_be_registered",
        "test_what_has_taken_a_files_place_is_left_alone",
        "test_what_is_put_is_the_stores_own",
    ),
    "copies of equal bytes are one, and outlive what happens to the file behind the store's back": (
        "test_a_blob_that_somebody_borrowed_is_no_home_for_bytes_that_must_go",
        "test_store.py::test_a_file_that_somebody_deleted_is_missing",
        "test_a_lease_that_holds_ended_bytes_does_not_bring_them_back_to_life",
        "test_a_missing_file_ends_its_refs_on_request",
        "test_an_export_that_cannot_be_done_says_why_and_leaves_nothing",
        "test_every_scope_is_charged_in_full",
        "test_it_can_be_switched_off",
        "test_other_bytes_and_other_policies_are_kept_apart",
    ),
    "variants are made and kept on the client's machine, each once": (
        "test_a_lease_on_the_original_holds_its_variants",
        "test_a_variant_is_made_once_and_goes_with_its_original",
        "test_a_variant_is_made_once_and_lives_and_dies_with_its_original",
        "test_a_variant_that_somebody_deleted_is_made_again",
        "test_each_verb_gives_what_the_store_gives",
        "test_erasing_a_scope_tells_what_became_of_variants_too",
        "test_reconcile_forgets_a_variant_whose_bytes_are_gone_and_keeps_its_original",
        "test_variants_made_at_once_are_one",
    ),
    "a server that is asked to sweep does so: its cleaner says only what is too old": (
        "test_without_a_maximal_age_nothing_expires",
    ),
    "the test has something done behind a verb": (
        "test_erasing_reports_also_what_came_in_at_the_last_moment",
    ),
    "bytes are under way: more are read, and what is refused goes a moment later": (
        "test_a_file_that_is_too_large_is_refused_as_soon_as_it_is",
        "test_a_full_store_refuses_while_streaming_and_says_what_to_do",
        "test_a_refused_type_is_refused_before_it_has_filled_the_disk",
        "test_what_a_source_raises_passes_through_and_nothing_is_kept[http-asyncio-large]",
        "test_what_a_source_raises_passes_through_and_nothing_is_kept[http-trio-large]",
    ),
    "no server takes bytes that are never deleted": (
        "test_bytes_put_to_be_kept_outlive_refs_and_store",
        "test_many_sources_are_put_in_order_and_each_as_by_itself",
    ),
    "many are put one after the other": ("test_equal_bytes_are_kept_once_also_among_themselves",),
    "a file of 68 GB is copied before it is looked at, and does not fit": (
        "test_what_is_too_large_is_not_even_read",
    ),
    "lines of the journal name URLs, and no paths": ("test_the_journal_says_when_why_and_by_whom",),
    "the server's threads are in the same process": ("test_no_thread_stays_behind",),
    "a scope stands in a URL: it has no NUL and at most 2000 characters": (
        r"test_any_text_can_be_a_scope[http-a\x00b]",
        "test_any_text_can_be_a_scope[http-scope8]",
    ),
}


def reason_of(item: pytest.Item) -> str | None:
    """Return why this test is left out, None if it is not."""
    function = getattr(item, "originalname", "")
    names = (item.name, function, f"{item.path.name}::{function}")
    return next((reason for reason, them in LEFT_OUT.items() if any(it in them for it in names)), None)
