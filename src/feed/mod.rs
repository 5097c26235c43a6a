//! Stub, replaced at the merge.
use crate::domain::Applied;
pub enum Subscriber {
    Channel(tokio::sync::mpsc::Receiver<Vec<Applied>>),
}
impl Subscriber {
    pub async fn next(&mut self) -> Option<Vec<Applied>> {
        match self {
            Subscriber::Channel(channel) => channel.recv().await,
        }
    }
}
