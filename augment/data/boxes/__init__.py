"""Pictures with boxes: COCO, Pascal VOC and YOLO → pictures of one shape and their boxes, split."""
