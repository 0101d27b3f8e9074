"""The tasks by name: on one region, on all regions that an expression means, and the captions of phase 1."""

from vilam.tasks.activation import Activation
from vilam.tasks.base import GroundingTask, GroupTask, Task
from vilam.tasks.presence import Presence
from vilam.tasks.rec_box import RecBox
from vilam.tasks.rec_every import RecEvery
from vilam.tasks.rec_keypoints import RecKeypoints
from vilam.tasks.rec_mask import RecMask
from vilam.tasks.reg_caption import RegCaption
from vilam.tasks.reg_class import RegClass

TASKS: dict[str, GroundingTask] = {
    task.name: task for task in (RecBox(), RecKeypoints(), RecMask(), RegClass(), RegCaption())
}
"""The five tasks of the paper, each on one region."""
GROUP_TASKS: dict[str, GroupTask] = {task.name: task for task in (RecEvery(), Presence())}
"""Tasks on all regions that an expression means: several, one or none."""
ALL_TASKS: dict[str, Task] = {**TASKS, **GROUP_TASKS}
"""All tasks that can be trained and evaluated."""
ACTIVATION: GroundingTask = Activation()
