//! Limits of models, where more than one model may serve the call: an alias over several, or one with
//! others that stand in. Which serves is known at the attempt, so it is then that what the call is
//! expected to use is taken of the model's limits: of each model once a call, and settled by what
//! the attempts at that model used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnpike_api::{Limit, Measure};
use turnpike_limits::{Book, Expected, Fallen, Reservation, Rule};

use crate::tenant::Tenant;
use crate::upstream::Member;

/// What one call took of the limits of models.
pub struct ModelLimits {
    tenant: Arc<Tenant>,
    /// Seldom more than a few.
    asked: Mutex<Vec<Asked>>,
}

/// One limit, asked for one model. Each has a reservation of its own: names that callers have for a model
/// may be under different limits of it.
struct Asked {
    limit: Arc<Limit>,
    /// The model, as limits tell models apart.
    counted: Arc<str>,
    taken: Taken,
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

    /// Takes what the call is expected to use of the limits of the model that `member` serves, but for
    /// those that an attempt before took of. Callers know the model by `name`.
    pub async fn take<'r>(
        &'r self,
        name: &'r str,
        member: &Member<'r>,
        expected: Expected,
        book: &Arc<Book>,
    ) -> Result<Vec<Arc<Reservation>>, Fallen> {
        let mut held = Vec::new();
        let mut fresh = Vec::new();
        for rule in self.rules(name, member) {
            if let Some(taken) = self.taken(rule, member) {
                held.push(taken?);
                continue;
            }
            let taken = book.reserve(&[(rule, &**member.counted)], expected).await;
            let asked = Asked {
                limit: rule.limit.clone(),
                counted: member.counted.clone(),
                taken: taken.map(Arc::new),
            };
            match asked.taken.clone() {
                Ok(reservation) => held.push(reservation),
                Err(fallen) => {
                    // What was taken for this attempt goes back.
                    self.lock().push(asked);
                    return Err(fallen);
                }
            }
            fresh.push(asked);
        }
        // Attempts follow one another: nobody has taken of them meanwhile.
        self.lock().extend(fresh);
        Ok(held)
    }

    /// Whether a limit of the model that `member` serves did not admit the call.
    pub fn have_fallen<'r>(&'r self, name: &'r str, member: &Member<'r>) -> bool {
        let mut rules = self.rules(name, member);
        rules.any(|rule| self.taken(rule, member).is_some_and(|taken| taken.is_err()))
    }

    /// The limits of a model, which callers know by `name`.
    fn rules<'r>(&'r self, name: &'r str, member: &Member<'r>) -> impl Iterator<Item = &'r Rule> {
        self.tenant.rules.of_model([name, member.model])
    }

    fn taken(&self, rule: &Rule, member: &Member<'_>) -> Option<Taken> {
        let asked = self.lock();
        let mut of_model = asked
            .iter()
            .filter(|asked| asked.counted == *member.counted);
        let found = of_model.find(|asked| Arc::ptr_eq(&asked.limit, &rule.limit));
        found.map(|asked| asked.taken.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
