//! Limits of models, where more than one model may serve the call: an alias over several, or one with
//! others that stand in. Which serves is known at the attempt, so it is then that what the call is
//! expected to use is taken of the model's limits: of each model once a call, and settled by what
//! the attempts at that model used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnpike_api::Measure;
use turnpike_limits::{Book, Expected, Fallen, Model, Reservation};

use crate::tenant::Tenant;
use crate::upstream::Member;

/// What one call took of the limits of models.
pub struct ModelLimits {
    tenant: Arc<Tenant>,
    /// By models, as limits tell them apart. Seldom more than two.
    asked: Mutex<Vec<(Arc<str>, Taken)>>,
}

type Taken = Result<Arc<Reservation>, Fallen>;

impl ModelLimits {
    /// Of a tenant that has such limits. Nothing is taken yet.
    pub fn of(tenant: &Arc<Tenant>) -> Option<Box<Self>> {
        let mut rules = tenant.rules.of_models();
        rules.next().is_some().then(|| {
            Box::new(Self {
                tenant: tenant.clone(),
                asked: Mutex::default(),
            })
        })
    }

    /// What they count.
    pub fn measures(&self) -> impl Iterator<Item = Measure> {
        let rules = self.tenant.rules.of_models();
        rules.map(|rule| rule.limit.measure)
    }

    /// Takes what the call is expected to use of the limits of the model that `member` serves, unless
    /// that was done for an attempt before. Callers know the model by `name`.
    pub async fn take(
        &self,
        name: &str,
        member: &Member<'_>,
        expected: Expected,
        book: &Arc<Book>,
    ) -> Taken {
        if let Some(taken) = self.taken(member) {
            return taken;
        }
        let model = Model {
            counted: member.counted,
            names: [name, member.model],
        };
        let rules = self.tenant.rules.of_model(&model);
        let taken = book.reserve(&rules, expected).await.map(Arc::new);
        // Attempts follow one another: nobody has taken of it meanwhile.
        self.lock().push((member.counted.clone(), taken.clone()));
        taken
    }

    /// Whether a limit of the model that `member` serves did not admit the call.
    pub fn have_fallen(&self, member: &Member<'_>) -> bool {
        self.taken(member).is_some_and(|taken| taken.is_err())
    }

    fn taken(&self, member: &Member<'_>) -> Option<Taken> {
        let asked = self.lock();
        let taken = asked.iter().find(|(model, _)| model == member.counted);
        taken.map(|(_, taken)| taken.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<str>, Taken)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
