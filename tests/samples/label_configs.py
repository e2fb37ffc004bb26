"""Labeling configs: those of Label Studio's YOLO example, and the parts of a small one."""

CONFIG = """
<View>
  <Header value="Cars &amp; trees"/>
  <Image name="image" value="$photo" zoom="true"/>
  <RectangleLabels name="label" toName="image" model_score_threshold="0.5">
    <Label value="Tree" background="green"/>
    <View><Label value="Passenger car" alias="car" predicted_values="car, truck ,,"/></View>
    <Label/>
  </RectangleLabels>
  <Choices name="quality" toName="image"><Choice value="good"/></Choices>
</View>
"""
# The labeling config of the keypoints in Label Studio's YOLO example, shortened: its order is not that of the indices.
POSE = """
<View>
  <RectangleLabels name="keypoints_bbox" toName="image" model_skip="true"><Label value="person"/></RectangleLabels>
  <KeyPointLabels name="keypoints" toName="image" model_score_threshold="0.75" model_point_threshold="0.5"
    model_add_bboxes="true" model_point_size="1" model_path="yolov8n-pose.pt">
    <Label value="nose" predicted_values="person" model_index="0"/>
    <View><Label value="right_eye" predicted_values="person" model_index="2"/></View>
    <Label value="left_eye" predicted_values="person" model_index="1"/>
  </KeyPointLabels>
  <Image name="image" value="$image"/>
</View>
"""
LABELS = '<Label value="Tree"/><Label value="Rock"/>'


def on_image(tags: str) -> str:
    return f'<View><Image name="it" value="$it"/>{tags}</View>'
