//! One suite for the object store, run on the embedded service and on versitygw.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod awkward;
mod embedded;
mod fixture;
mod presigned;
mod round_trips;
mod uploads;

/// Every test of the list, on each of the services.
macro_rules! on_both {
    ($($module:ident :: $name:ident),* $(,)?) => {
        mod on_embedded {
            $(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::fixture::Fixture::embedded().await).await;
            })*
        }
        mod on_versitygw {
            $(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::fixture::Fixture::versitygw().await).await;
            })*
        }
    };
}

on_both![
    round_trips::an_object_comes_back_as_it_went,
    round_trips::ranges_are_parts_of_the_object,
    round_trips::lists_are_in_order_and_join,
    round_trips::writers_do_not_mix,
    round_trips::streams_of_any_length_are_stored_or_leave_nothing,
    presigned::plain_clients_read_for_both_audiences,
    presigned::plain_clients_write_for_both_audiences,
    presigned::a_url_permits_one_thing_only,
    presigned::a_url_ends,
    uploads::parts_become_one_object,
    uploads::wrong_parts_are_refused,
    uploads::uploads_can_be_given_up,
    awkward::awkward_keys_are_keys,
];
