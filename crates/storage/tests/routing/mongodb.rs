//! Routes from and to MongoDB, with PostgreSQL on the other side.

use crate::cut::{Cut, mongodb, postgres};
use crate::stores::Route;

async fn writes_reach_the_other_side(cut: Cut) {
    let route = Route::open(cut.pair).await;
    for n in 0..40 {
        let path = format!("rooms/r{n}");
        route.create(&path, n).await;
        route.update(&path, i64::MAX - n).await;
        if n % 3 == 0 {
            route.delete(&path).await;
        }
    }
    assert_eq!(route.expect_equal_sides().await, 40);
    route.storage.close().await.unwrap();
    cut.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_updates_and_deletes_reach_postgres_from_mongodb() {
    writes_reach_the_other_side(Cut::to_postgres(mongodb()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_updates_and_deletes_reach_mongodb_from_postgres() {
    writes_reach_the_other_side(Cut::to_mongodb(postgres()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_nothing_is_lost_from_mongodb_to_postgres() {
    Cut::to_postgres(mongodb()).await.torment(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_nothing_is_lost_from_postgres_to_mongodb() {
    Cut::to_mongodb(postgres()).await.torment(4).await;
}
